//! A CSV file that is to be sent: where its bytes are, and how often they are wanted they are read again from there, never all at once.
//! Its beginning may be replaced by another one. What comes from a pipe is put into a temporary file if it is large.

use std::fs::File;
use std::io::{self, Cursor, ErrorKind, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::import::{Charset, Form, Head, RowsFault, open_rows, read_head};

use super::failure::Failure;

/// Up to this size what comes from a pipe is held in memory.
const HELD_BYTES_MAX: u64 = 1 << 20;

/// The bytes of a CSV file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    bytes: Bytes,
    /// How many of them there are.
    count: u64,
    /// What is sent first.
    head: Arc<[u8]>,
    /// In the place of so many bytes.
    replaced: u64,
}

#[derive(Clone, Debug)]
enum Bytes {
    Held(Arc<[u8]>),
    File(Arc<File>),
}

impl Source {
    /// Opens a file; `-`, and whatever else is no regular file, is read to its end first.
    pub(super) fn open(path: &Path) -> Result<Source, Failure> {
        let opened = if path == Path::new("-") {
            Source::spool(io::stdin().lock())
        } else {
            File::open(path).and_then(|file| {
                let is_regular = file.metadata()?.is_file();
                if is_regular { Source::of_file(file) } else { Source::spool(file) }
            })
        };
        opened.map_err(|error| Failure::yours(format!("cannot read {}: {error}", path.display())))
    }

    /// A regular file.
    pub(super) fn of_file(file: File) -> io::Result<Source> {
        let count = file.metadata()?.len();
        Ok(Source { bytes: Bytes::File(Arc::new(file)), count, head: Arc::default(), replaced: 0 })
    }

    /// Text that is there.
    pub(super) fn of_text(text: &str) -> Source {
        let (count, bytes) = (text.len() as u64, Bytes::Held(text.as_bytes().into()));
        Source { bytes, count, head: Arc::default(), replaced: 0 }
    }

    fn spool(mut pipe: impl Read) -> io::Result<Source> {
        let mut beginning = Vec::new();
        (&mut pipe).take(HELD_BYTES_MAX + 1).read_to_end(&mut beginning)?;
        if beginning.len() as u64 <= HELD_BYTES_MAX {
            let count = beginning.len() as u64;
            return Ok(Source { bytes: Bytes::Held(beginning.into()), count, head: Arc::default(), replaced: 0 });
        }
        let mut file = temporary_file()?;
        file.write_all(&beginning)?;
        io::copy(&mut pipe, &mut file)?;
        Source::of_file(file)
    }

    /// The same file, but for its beginning.
    pub(super) fn with_head(&self, head: Vec<u8>, replaced_bytes: u64) -> Source {
        Source { head: head.into(), replaced: replaced_bytes, ..self.clone() }
    }

    /// What its beginning was replaced by, if it was, and how many bytes of it.
    pub(super) fn replaced(&self) -> Option<(&[u8], u64)> {
        (!self.head.is_empty()).then_some((&*self.head, self.replaced))
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
        self.head.len() as u64 + self.count.saturating_sub(self.replaced)
    }

    /// Its bytes, from the first one.
    pub(super) fn reader(&self) -> Box<dyn Read + Send> {
        let head = Cursor::new(Arc::clone(&self.head));
        match &self.bytes {
            Bytes::Held(bytes) => {
                let mut rest = Cursor::new(Arc::clone(bytes));
                rest.set_position(self.replaced);
                Box::new(head.chain(rest))
            }
            Bytes::File(file) => {
                let rest = FileReader { file: Arc::clone(file), at: self.replaced, end: self.count };
                Box::new(head.chain(rest))
            }
        }
    }

    /// How it begins.
    pub(super) fn head(&self, charset: Option<Charset>) -> Result<Head, RowsFault> {
        read_head(|| Ok(self.reader()), charset)
    }

    /// The records after the header, as far as they can be read.
    pub(super) fn count_records(&self, form: Form) -> u64 {
        let Ok((mut rows, _)) = open_rows(self.reader(), form) else { return 0 };
        let Ok(Some(_)) = rows.header() else { return 0 };
        std::iter::from_fn(|| rows.next_batch().ok().flatten()).map(|batch| batch.len() as u64).sum()
    }

    /// All of it, as text; or how many bytes of it are.
    pub(super) fn text(&self) -> io::Result<Result<String, usize>> {
        let mut bytes = Vec::new();
        self.reader().read_to_end(&mut bytes)?;
        Ok(String::from_utf8(bytes).map_err(|error| error.utf8_error().valid_up_to()))
    }
}

/// A file without a name, which is gone when nobody has it open, however that comes.
pub(super) fn temporary_file() -> io::Result<File> {
    tempfile::tempfile().map_err(|error| {
        let place = std::env::temp_dir();
        io::Error::new(error.kind(), format!("a temporary file in {} (TMPDIR): {error}", place.display()))
    })
}

/// A file from one place to another; it shares no position with other readers.
struct FileReader {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for FileReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = left.min(into.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.file.read_at(&mut into[..wanted], self.at)?;
        if count == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the file has become shorter"));
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &Source) -> Vec<u8> {
        let mut bytes = Vec::new();
        source.reader().read_to_end(&mut bytes).expect("readable");
        bytes
    }

    #[test]
    fn every_reader_reads_it_all() {
        let large = vec![b'x'; usize::try_from(HELD_BYTES_MAX).expect("small") + 1];
        for bytes in [&b""[..], b"a,b\n1,2\n", &large] {
            let source = Source::spool(bytes).expect("spooled");
            assert_eq!(matches!(source.bytes, Bytes::File(_)), bytes == large);
            let mut half = vec![0; bytes.len() / 2];
            let mut other = source.reader();
            other.read_exact(&mut half).expect("readable");
            assert_eq!(read(&source), bytes);
            assert_eq!((read(&source).len() as u64, source.bytes()), (source.bytes(), bytes.len() as u64));
            let replaced = source.with_head(b"HEAD".to_vec(), bytes.len().min(3) as u64);
            let expected = [b"HEAD", &bytes[bytes.len().min(3)..]].concat();
            assert_eq!((read(&replaced), replaced.bytes()), (expected.clone(), expected.len() as u64));
        }
    }

    #[test]
    fn a_file_that_becomes_shorter_is_no_shorter_file() {
        let mut file = temporary_file().expect("a file");
        file.write_all(b"phone\n1\n").expect("written");
        let source = Source::of_file(file.try_clone().expect("a handle")).expect("opened");
        file.set_len(3).expect("cut");
        let error = source.reader().read_to_end(&mut Vec::new()).expect_err("too short");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn records_are_counted_as_people_would() {
        for (text, count) in [
            ("", 0),
            ("a,b", 0),
            ("a,b\n1,2\n3,4", 2),
            ("a,b\r\n1,2\r\n\r\n3,4\r\n", 2),
            ("a,b\r1,\"x\ny\"\r", 1),
            ("\na\n1\n", 1),
        ] {
            assert_eq!(Source::of_text(text).count_records(Form::Json), count, "{text:?}");
        }
    }
}
