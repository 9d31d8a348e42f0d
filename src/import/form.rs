//! How a file is written: its characters, and what stands between its cells. In JSON both are given; of a file that is sent as it is, the
//! client may say the charset, and the delimiter is found in the header.

use std::io::{self, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::rows::{RowReader, RowsFault};

/// How much of a file is looked at for its byte order mark and its delimiter. Of a longer header only this counts.
const LOOKED_AT_BYTES: usize = 64 * 1024;
/// How much is decoded at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// The delimiters, in the order in which they win where they occur equally often.
pub(super) const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// The longest byte order mark.
const MARK_BYTES_MAX: usize = 3;

/// How the characters of a file are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "they are named as they are called")]
pub enum Charset {
    Utf8,
    Utf16Le,
    Utf16Be,
    Windows1252,
}

impl Charset {
    /// All of them.
    pub const ALL: [Charset; 4] = [Charset::Utf8, Charset::Utf16Le, Charset::Utf16Be, Charset::Windows1252];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Charset::Utf8 => "utf-8",
            Charset::Utf16Le => "utf-16le",
            Charset::Utf16Be => "utf-16be",
            Charset::Windows1252 => "windows-1252",
        }
    }

    /// What a client calls it, in any case. As on the web, Latin 1 is read as Windows-1252, which adds characters where Latin 1 has none,
    /// and UTF-16 without a byte order mark is little-endian.
    pub fn parse(name: &str) -> Option<Charset> {
        match name.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" | "us-ascii" | "ascii" => Some(Charset::Utf8),
            "utf-16" | "utf-16le" => Some(Charset::Utf16Le),
            "utf-16be" => Some(Charset::Utf16Be),
            "windows-1252" | "cp1252" | "iso-8859-1" | "latin1" => Some(Charset::Windows1252),
            _ => None,
        }
    }

    /// What a byte order mark says: more than any name does.
    fn of_mark(beginning: &[u8]) -> Option<Charset> {
        match beginning {
            [0xef, 0xbb, 0xbf, ..] => Some(Charset::Utf8),
            [0xff, 0xfe, ..] => Some(Charset::Utf16Le),
            [0xfe, 0xff, ..] => Some(Charset::Utf16Be),
            _ => None,
        }
    }

    /// Text in this charset; `None` if it has not all of the characters.
    pub(super) fn encode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Charset::Utf8 => Some(text.as_bytes().to_vec()),
            Charset::Utf16Le => Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            Charset::Utf16Be => Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
            Charset::Windows1252 => {
                let (bytes, _, is_lossy) = WINDOWS_1252.encode(text);
                (!is_lossy).then(|| bytes.into_owned())
            }
        }
    }

    /// How many bytes text takes that was read in this charset.
    pub(super) fn bytes_of(self, text: &str) -> u64 {
        match self {
            Charset::Utf8 => text.len() as u64,
            Charset::Utf16Le | Charset::Utf16Be => 2 * text.encode_utf16().count() as u64,
            Charset::Windows1252 => text.chars().count() as u64,
        }
    }

    fn decoder(self) -> Option<Decoder> {
        // The mark is left in: whoever splits the rows drops it.
        match self {
            Charset::Utf8 => None,
            Charset::Utf16Le => Some(UTF_16LE.new_decoder_without_bom_handling()),
            Charset::Utf16Be => Some(UTF_16BE.new_decoder_without_bom_handling()),
            Charset::Windows1252 => Some(WINDOWS_1252.new_decoder_without_bom_handling()),
        }
    }
}

/// What is said about how a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// It came as a string of JSON: UTF-8, with commas.
    Json,
    /// It came as it is.
    File {
        /// As the client says.
        charset: Option<Charset>,
    },
}

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dialect {
    /// What stands between cells: one ASCII character.
    pub delimiter: u8,
    /// Its characters.
    pub charset: Charset,
}

impl Dialect {
    /// Of a string of JSON.
    pub const JSON: Dialect = Dialect { delimiter: b',', charset: Charset::Utf8 };

    /// The rows of a file of which the dialect is known.
    pub fn rows(self, source: Box<dyn Read + Send>) -> RowReader<Box<dyn Read + Send>> {
        RowReader::new(decoded(source, self.charset), self.delimiter)
    }
}

/// The file's characters as UTF-8 cannot be told further: a byte does not belong there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("byte {offset} is not {}", charset.as_str())]
pub(super) struct BadByte {
    pub(super) charset: Charset,
    /// In the file as the client has it, counted from 0.
    pub(super) offset: u64,
}

/// A file on its way to be split into rows.
type FileRows = RowReader<Box<dyn Read + Send>>;

/// The rows of a file, and the dialect that was found if it was not given.
pub fn open_rows(mut source: Box<dyn Read + Send>, form: Form) -> io::Result<(FileRows, Option<Dialect>)> {
    let Form::File { charset } = form else { return Ok((Dialect::JSON.rows(source), None)) };
    let mut beginning = Vec::with_capacity(MARK_BYTES_MAX);
    (&mut source).take(MARK_BYTES_MAX as u64).read_to_end(&mut beginning)?;
    let charset = Charset::of_mark(&beginning).or(charset).unwrap_or(Charset::Utf8);
    let mut text = decoded(Box::new(Cursor::new(beginning).chain(source)), charset);
    let mut header = Vec::new();
    match (&mut text).take(LOOKED_AT_BYTES as u64).read_to_end(&mut header) {
        // It comes again to whoever reads on, behind what is good.
        Err(fault) if is_bad_byte(&fault) => {}
        read => drop(read?),
    }
    let dialect = Dialect { delimiter: find_delimiter(&header), charset };
    Ok((RowReader::new(Box::new(Cursor::new(header).chain(text)), dialect.delimiter), Some(dialect)))
}

impl From<io::Error> for RowsFault {
    fn from(fault: io::Error) -> RowsFault {
        match fault.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(&BadByte { charset, offset }) => RowsFault::BadEncoding { charset, offset },
            None => RowsFault::Read(fault),
        }
    }
}

fn is_bad_byte(fault: &io::Error) -> bool {
    fault.get_ref().is_some_and(|inner| inner.is::<BadByte>())
}

/// The delimiter that occurs most often in the first line that is not blank, outside of quotes.
fn find_delimiter(text: &[u8]) -> u8 {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let start = text.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(text.len());
    let mut counts = [0u64; DELIMITERS.len()];
    let (mut is_quoted, mut at_cell_start) = (false, true);
    for byte in &text[start..] {
        match byte {
            // Within quotes; of a doubled quote the second opens again.
            b'"' if is_quoted => is_quoted = false,
            _ if is_quoted => {}
            b'"' if at_cell_start => is_quoted = true,
            b'\r' | b'\n' => break,
            byte => {
                let which = DELIMITERS.iter().position(|delimiter| delimiter == byte);
                which.into_iter().for_each(|which| counts[which] += 1);
                at_cell_start = which.is_some() || (at_cell_start && *byte == b' ');
            }
        }
    }
    let mut best = 0;
    for (at, count) in counts.iter().enumerate() {
        if *count > counts[best] {
            best = at;
        }
    }
    DELIMITERS[best]
}

pub(super) fn decoded(source: Box<dyn Read + Send>, charset: Charset) -> Box<dyn Read + Send> {
    match charset.decoder() {
        None => source,
        Some(decoder) => Box::new(Decoded {
            source,
            charset,
            decoder,
            bytes: Vec::new(),
            consumed: 0,
            is_over: false,
            text: Vec::new(),
            given: 0,
            bad: None,
        }),
    }
}

/// A file in UTF-8, whatever it is written in.
struct Decoded {
    source: Box<dyn Read + Send>,
    charset: Charset,
    decoder: Decoder,
    /// Bytes that are still to be decoded.
    bytes: Vec<u8>,
    /// Bytes that have been.
    consumed: u64,
    is_over: bool,
    /// Text that is still to be given.
    text: Vec<u8>,
    given: usize,
    bad: Option<BadByte>,
}

impl Decoded {
    /// Decodes the next bytes.
    fn fill(&mut self) -> io::Result<()> {
        let wanted = CHUNK_BYTES - self.bytes.len();
        let got = (&mut self.source).take(wanted as u64).read_to_end(&mut self.bytes)?;
        self.is_over = got < wanted;
        let most = self.decoder.max_utf8_buffer_length_without_replacement(self.bytes.len());
        self.text.clear();
        self.given = 0;
        self.text.resize(most.unwrap_or(4 * CHUNK_BYTES), 0);
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(&self.bytes, &mut self.text, self.is_over);
        self.text.truncate(written);
        self.bytes.drain(..read);
        self.consumed += read as u64;
        if let DecoderResult::Malformed(length, behind) = result {
            let offset = self.consumed.saturating_sub(u64::from(length) + u64::from(behind));
            self.bad = Some(BadByte { charset: self.charset, offset });
        }
        Ok(())
    }
}

impl Read for Decoded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.text.len() {
            if let Some(bad) = self.bad {
                return Err(io::Error::other(bad));
            }
            if self.is_over && self.bytes.is_empty() {
                return Ok(0);
            }
            self.fill()?;
        }
        let rest = &self.text[self.given..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delimiter(header: &str) -> char {
        char::from(find_delimiter(header.as_bytes()))
    }

    #[test]
    fn the_delimiter_is_the_one_that_occurs_most() {
        for (header, expected) in [
            ("a,b,c", ','),
            ("a;b;c\n1,2,3,4,5", ';'),
            ("a\tb\r1;2;3", '\t'),
            ("a|b\n", '|'),
            // One column, and nothing.
            ("phone\n", ','),
            ("", ','),
            ("\n\n", ','),
            // Equally often: the comma, then the order of the list.
            ("a,b;c", ','),
            ("a;b|c", ';'),
            ("a\tb|c", '\t'),
            // More of another one.
            ("first,name;last,name;x;y", ';'),
            // Not inside of quotes.
            ("\"a,b,c\";d", ';'),
            ("x; \"a,\"\"b,,c\" ;d", ';'),
            ("\"a,b\nc,d\";e", ';'),
            // A quote inside of a cell is none.
            ("5\" pipe;b,c,d;e;f", ';'),
            ("a;b\"c,d,e", ','),
            // Blank lines and the byte order mark stand before it.
            ("\u{feff}\r\n\na;b", ';'),
        ] {
            assert_eq!(delimiter(header), expected, "{header:?}");
        }
    }

    #[test]
    fn charsets_are_known_by_many_names() {
        for charset in Charset::ALL {
            assert_eq!(Charset::parse(charset.as_str()), Some(charset));
            assert_eq!(Charset::parse(&charset.as_str().to_ascii_uppercase()), Some(charset));
        }
        assert_eq!(Charset::parse("ISO-8859-1"), Some(Charset::Windows1252));
        assert_eq!(Charset::parse("UTF-16"), Some(Charset::Utf16Le));
        assert_eq!(Charset::parse("utf-7"), None);
    }

    /// A cell each, and the dialect; or the fault.
    fn read(bytes: &[u8], charset: Option<Charset>) -> Result<(Vec<String>, String), String> {
        let source = Box::new(Cursor::new(bytes.to_vec()));
        let (mut rows, dialect) = open_rows(source, Form::File { charset }).expect("readable");
        let mut cells = Vec::new();
        let tell = |fault: RowsFault| fault.to_string();
        let mut batch = rows.header().map_err(tell)?;
        while let Some(rows_of_batch) = batch {
            for row in rows_of_batch.rows() {
                cells.extend((0..row.width()).map(|column| row.cell(column).to_owned()));
            }
            batch = rows.next_batch().map_err(tell)?;
        }
        let dialect = dialect.expect("found");
        Ok((cells, format!("{} {}", char::from(dialect.delimiter), dialect.charset.as_str())))
    }

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn files_are_read_in_every_charset() {
        let cells = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let text = "name;note\nZoë;€ 😀\n";
        let expected = cells(&["name", "note", "Zoë", "€ 😀"]);
        let marked = format!("\u{feff}{text}");
        for (bytes, charset, found) in [
            (text.as_bytes().to_vec(), None, "; utf-8"),
            (marked.clone().into_bytes(), None, "; utf-8"),
            // The mark goes over what is said.
            (marked.clone().into_bytes(), Some(Charset::Windows1252), "; utf-8"),
            (utf16(&marked, u16::to_le_bytes), None, "; utf-16le"),
            (utf16(&marked, u16::to_be_bytes), Some(Charset::Utf16Le), "; utf-16be"),
            (utf16(text, u16::to_be_bytes), Some(Charset::Utf16Be), "; utf-16be"),
            (utf16(text, u16::to_le_bytes), Some(Charset::Utf16Le), "; utf-16le"),
        ] {
            assert_eq!(read(&bytes, charset), Ok((expected.clone(), found.to_owned())), "{found}");
        }
        let latin = b"name|note\nZo\xeb|\x80 \x93x\x94\n";
        let expected = (cells(&["name", "note", "Zoë", "€ “x”"]), "| windows-1252".to_owned());
        assert_eq!(read(latin, Some(Charset::Windows1252)), Ok(expected));
        assert_eq!(read(b"", Some(Charset::Utf16Le)), Ok((vec![], ", utf-16le".to_owned())));
    }

    /// Longer than everything that is read at a time, with characters across every border.
    #[test]
    fn long_files_are_read_whole() {
        let text = format!("a;b\n{}", "x😀;é€\n".repeat(60_000));
        for (bytes, charset) in [
            (utf16(&text, u16::to_le_bytes), Charset::Utf16Le),
            (utf16(&text[..text.len() - 1], u16::to_be_bytes), Charset::Utf16Be),
            (text.clone().into_bytes(), Charset::Utf8),
        ] {
            let (cells, _) = read(&bytes, Some(charset)).expect("readable");
            assert_eq!(cells.len(), 120_002, "{charset:?}");
            assert!(cells[2..].chunks(2).all(|pair| pair == ["x😀", "é€"]), "{charset:?}");
        }
    }

    #[test]
    fn a_bad_byte_is_told_with_its_place_in_the_file() {
        let told = |bytes: &[u8], charset| read(bytes, charset).expect_err("a fault");
        assert_eq!(told(b"a;b\n1;\xff\n", None), "the file is not utf-8 at byte 6");
        assert_eq!(told(b"\xef\xbb\xbfa\xe9", None), "the file is not utf-8 at byte 4");
        // Half a pair, half a unit, a pair the wrong way round; far behind the header, too.
        let mut half = utf16("\u{feff}a\nb", u16::to_le_bytes);
        half.extend([0x3d, 0xd8]);
        assert_eq!(told(&half, None), "the file is not utf-16le at byte 8");
        half.extend([0x41, 0x00]);
        assert_eq!(told(&half, None), "the file is not utf-16le at byte 8");
        assert_eq!(told(b"\xff\xfea\0b", None), "the file is not utf-16le at byte 4");
        assert_eq!(told(b"\0a\xdc\0\0b", Some(Charset::Utf16Be)), "the file is not utf-16be at byte 2");
        let mut long = utf16(&"a\n".repeat(200_000), u16::to_le_bytes);
        long.extend([0x00, 0xdc, 0x41, 0x00]);
        assert_eq!(told(&long, Some(Charset::Utf16Le)), "the file is not utf-16le at byte 800000");
    }
}
