//! A home that fails after so many steps: what a move that is cut off leaves.

use super::*;

/// A target that fails at one of its writes, with or without having written.
pub(super) struct Failing {
    pub(super) home: Box<dyn Movable>,
    pub(super) writes: AtomicUsize,
    pub(super) fails_at: usize,
    pub(super) has_written: bool,
}

impl Failing {
    pub(super) fn is_here(&self) -> bool {
        self.writes.fetch_add(1, Ordering::Relaxed) == self.fails_at
    }
}

pub(super) fn cut_off() -> StoreError {
    StoreError::Unavailable("cut off".to_owned())
}

#[async_trait]
impl Movable for Failing {
    fn place(&self) -> String {
        self.home.place()
    }

    async fn marks(&self) -> Result<Vec<Mark>, StoreError> {
        self.home.marks().await
    }

    async fn holds_anything(&self) -> Result<bool, StoreError> {
        self.home.holds_anything().await
    }

    async fn hold(&self, mark: &Mark) -> Result<(), StoreError> {
        self.home.hold(mark).await
    }

    async fn end(&self, id: Uuid, direction: Direction, finished_ms: i64) -> Result<(), StoreError> {
        if self.is_here() {
            return Err(cut_off());
        }
        self.home.end(id, direction, finished_ms).await
    }

    async fn release(&self, id: Uuid, direction: Direction) -> Result<(), StoreError> {
        self.home.release(id, direction).await
    }

    async fn page(&self, part: Part, after: &Cursor, rows_max: u32) -> Result<Vec<Row>, StoreError> {
        self.home.page(part, after, rows_max).await
    }

    async fn piece(&self, command: &CommandRow, piece: u32) -> Result<Vec<u8>, StoreError> {
        self.home.piece(command, piece).await
    }

    async fn stock(&self, program: ProgramId) -> Result<Stock, StoreError> {
        self.home.stock(program).await
    }

    async fn reached(&self, part: Part) -> Result<u64, StoreError> {
        self.home.reached(part).await
    }

    async fn write(&self, part: Part, rows: Vec<Row>) -> Result<(), StoreError> {
        if !self.is_here() {
            return self.home.write(part, rows).await;
        }
        if self.has_written {
            self.home.write(part, rows).await?;
        }
        Err(cut_off())
    }

    async fn write_piece(
        &self,
        command: &CommandRow,
        piece: u32,
        bytes: &[u8],
        is_last: bool,
    ) -> Result<(), StoreError> {
        // Pieces are begun anew, so only the last one is a step.
        if is_last && self.is_here() {
            if self.has_written {
                self.home.write_piece(command, piece, bytes, is_last).await?;
            }
            return Err(cut_off());
        }
        self.home.write_piece(command, piece, bytes, is_last).await
    }

    async fn write_stock(&self, program: ProgramId, stock: Stock) -> Result<(), StoreError> {
        self.home.write_stock(program, stock).await
    }

    async fn settle(&self) -> Result<(), StoreError> {
        self.home.settle().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.home.close().await
    }
}
