//! What the type Phone reads and refuses, and that the quick judge never differs from the library.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use super::nanp::{self, Prefix, Verdict};
use super::*;

/// Rows of region, cell and answer (`-`: refused), separated by `|`.
#[track_caller]
fn check(table: &str) {
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let [region, cell, expected] =
            row.split('|').map(str::trim).collect::<Vec<_>>().try_into().expect("three columns");
        let phone = Phone::parse(cell, region_of(region));
        let answer = phone.map_or("-".to_owned(), |phone| phone.to_string());
        assert_eq!(answer, expected, "{cell} in {region}");
        if let Some(phone) = phone {
            assert_eq!(Phone::parse(expected, region_of(region)), Some(phone), "E.164 reads back as itself");
            assert_eq!(Phone::from_digits(phone.digits()), phone);
        }
    }
}

#[track_caller]
fn region_of(code: &str) -> Region {
    Region::parse(code).expect("a known region")
}

#[test]
fn spellings_of_north_america() {
    check(
        "
        US | 2395745030            | +12395745030
        US | 12395745030           | +12395745030
        US | +12395745030          | +12395745030
        US | (239) 574-5030        | +12395745030
        US | (239)574-5030         | +12395745030
        US | 239-574-5030          | +12395745030
        US | 239.574.5030          | +12395745030
        US | 239 574 5030          | +12395745030
        US | 1-239-574-5030        | +12395745030
        US | 1 (239) 574-5030      | +12395745030
        US | +1 (239) 574-5030     | +12395745030
        US | +1 239 574 5030       | +12395745030
        US | +1.239.574.5030       | +12395745030
        US | + 1 239 574 5030      | +12395745030
        US | +(1) 239 574 5030     | +12395745030
        US | 239/574-5030          | +12395745030
        US | 239–574–5030          | +12395745030
        US | [239] 574 5030        | +12395745030
        US | 011 1 239 574 5030    | +12395745030
        US | 011 44 20 7946 0018   | +442079460018
        US | 0114702000            | +4702000
        US | +1 (239) - 574 - 5030 | +12395745030
        US | ２３９５７４５０３０  | +12395745030
        US | ٢٣٩٥٧٤٥٠٣٠            | +12395745030
        US | 8005551212            | +18005551212
        CA | (416) 555-0123        | +14165550123
        CA | 310-1234              | +13101234
        US | 310-1234              | +13101234
        PR | 787-765-0000          | +17877650000
        DO | 809 555 1234          | +18095551234
        AG | 268 462 0479          | +12684620479
        AG | 239 574 5030          | +12395745030

        US | 5745030               | -
        AG | 462 0479              | +12684620479
        US | 239574503             | -
        US | 23957450301           | -
        US | 22395745030           | -
        US | 1395745030            | -
        US | 0395745030            | -
        US | 239-174-5030          | -
        US | 211-574-5030          | -
        US | 9995745030            | -
        US | +2395745030           | -
        US | 1 1 239 574 5030      | +12395745030
        US | +1 1 239 574 5030     | +12395745030
        US | 2395745030 / 2395745031 | -
        US | 0                     | -
        US | 00                    | -
        US | +                     | -
        US | +1                    | -
        US | -                     | -
        US | n/a                   | -
        US | ()                    | -
        ",
    );
}

/// The three prefixes in which the metadata looks at the line number.
#[test]
fn mixed_prefixes() {
    check(
        "
        US | 246 521 0000 | +12465210000
        US | 246 521 2000 | -
        BB | 246 522 0000 | +12465220000
        BB | 246 522 1000 | -
        JM | 876 606 0000 | +18766060000
        JM | 876 606 1000 | -
        ",
    );
    assert_eq!(nanp::judge(b"246 521 0000", true), Verdict::Unsure);
}

#[test]
fn spellings_of_other_countries() {
    check(
        "
        GB | 020 7946 0018         | +442079460018
        GB | (020) 7946 0018       | +442079460018
        GB | 07400 123456          | +447400123456
        GB | +44 (0)20 7946 0018   | +442079460018
        GB | 0044 20 7946 0018     | +442079460018
        GB | 00 1 239 574 5030     | +12395745030
        GB | +1 239-574-5030       | +12395745030
        GB | 405-555-1234          | -
        GB | 2395745030            | +442395745030
        DE | 030 123456            | +4930123456
        DE | 0151 23456789         | +4915123456789
        DE | +49 (0) 30 / 123456   | +4930123456
        DE | 030/123456            | +4930123456
        IT | 06 698 82000          | +390669882000
        IT | +39 06 698 82000      | +390669882000
        IT | 312 345 6789          | +393123456789
        IT | 6 698 82000           | -
        US | +39 06 69882000       | +390669882000
        MX | 55 1234 5678          | +525512345678
        MX | +52 1 55 1234 5678    | -
        MX | +52 55 1234 5678      | +525512345678
        IN | 98765 43210           | +919876543210
        IN | 098765 43210          | +919876543210
        IN | +91-98765-43210       | +919876543210
        BR | (11) 96123-4567       | +5511961234567
        BR | 0 15 11 96123-4567    | +5511961234567
        AU | 0412 345 678          | +61412345678
        AU | (02) 9374 4000        | +61293744000
        FR | 01 23 45 67 89        | +33123456789
        FR | 06.12.34.56.78        | +33612345678
        JP | 090-1234-5678         | +819012345678
        JP | 03(1234)5678          | +81312345678
        JP | +81 00378812345678901 | +8100378812345678901
        ID | 00180312345678901     | +6200180312345678901
        US | +800 1234 5678        | +80012345678
        US | +999 1234 5678        | -
        US | +44 20 7946           | -
        ",
    );
}

#[test]
fn letters_and_extensions_are_refused() {
    check(
        "
        US | 1-800-FLOWERS            | -
        US | 1-800-356-9377 FLOWERS   | -
        US | 239-574-5030 x123        | -
        US | 239-574-5030 X1          | -
        US | 239-574-5030 ext. 12     | -
        US | 239-574-5030 ext12       | -
        US | 239-574-5030 доб. 12     | -
        US | 239-574-5030 ｘ12        | -
        US | 239-574-5030 #12         | -
        US | 239-574-5030#12          | -
        US | 239-574-5030 ＃12        | -
        US | 239-574-5030 ~12         | -
        US | 239-574-5030,,12         | -
        US | 239-574-5030;12          | -
        US | 239-574-5030;ext=12      | -
        US | +12395745030;ext=12      | -
        US | tel:+12395745030         | -
        US | tel:239-574-5030;phone-context=+1 | -
        US | phone: 239-574-5030      | -
        US | тел. 239-574-5030        | -
        US | 239-574-5030 (home)      | -
        US | 239-574-503O             | -
        US | ２３９５７４５０３０ａ   | -
        GB | 020 7946 0018 x1         | -
        ",
    );
}

#[test]
fn nul_is_refused() {
    for cell in ["2395745030\0", "\x002395745030", "239\x005745030"] {
        assert_eq!(Phone::parse(cell, Region::US), None, "{cell:?}");
    }
}

#[test]
fn long_cells_are_refused_at_once() {
    let megabytes = 5_000_000;
    let cells = ["2".repeat(megabytes), "+".repeat(megabytes), " (".repeat(megabytes / 2), "٢".repeat(megabytes / 2)];
    let start = Instant::now();
    for cell in &cells {
        assert_eq!(Phone::parse(cell, Region::US), None);
    }
    assert!(start.elapsed() < Duration::from_millis(100), "took {:?}", start.elapsed());
    let longest = format!("{}2395745030", "(".repeat(240));
    assert_eq!(Phone::parse(&longest, Region::US), Some(Phone(12_395_745_030)));
    assert_eq!(Phone::parse(&format!("({longest}"), Region::US), None);
}

#[test]
fn regions() {
    assert_eq!(Region::parse("US"), Some(Region::US));
    assert_eq!(Region::parse("us"), Some(Region::US));
    assert_eq!(region_of("gB").as_str(), "GB");
    assert_eq!(format!("{:?}", region_of("de")), "Region(DE)");
    for unknown in ["", "U", "USA", "ZZ", "XX", "001", "1", "U1", " US", "ÜS", "ß", "de-DE", "\0\0"] {
        assert_eq!(Region::parse(unknown), None, "{unknown:?}");
    }
}

#[test]
fn north_american_regions_are_the_librarys() {
    let mut library: Vec<_> = PHONE_NUMBER_UTIL
        .get_supported_regions()
        .filter(|&region| PHONE_NUMBER_UTIL.get_country_code_for_region(region) == Some(1))
        .map(|region| region.to_string())
        .collect();
    library.sort();
    assert_eq!(nanp::REGIONS.map(|code| String::from_utf8_lossy(code).into_owned()).to_vec(), library);
}

#[test]
fn version_of_metadata() {
    // To be changed with each update of the library; here so that somebody notices.
    assert_eq!(METADATA_VERSION, "9.0.42");
}

/// What the whole parser would say without the quick judge must be what the quick judge says, where it says something.
#[track_caller]
fn agrees_with_library(cell: &str, region: Region) -> Verdict {
    let verdict = nanp::judge(cell.as_bytes(), region.nanp);
    let expected = match verdict {
        Verdict::Valid(phone) => Some(phone),
        Verdict::Invalid => None,
        Verdict::Unsure => return verdict,
    };
    assert_eq!(ask_library(cell, region), expected, "{cell:?} in {region:?}, library on the left");
    verdict
}

/// Spellings that people send, each damaged in up to three places, in every North American region and one other.
#[test]
fn quick_judge_agrees_with_library() {
    let mut random = Random(1);
    let (mut valid, mut invalid, mut unsure) = (0, 0, 0);
    for _ in 0..15_000 {
        let cell = random.cell();
        let region = random.region();
        match agrees_with_library(&cell, region) {
            Verdict::Valid(_) => valid += 1,
            Verdict::Invalid => invalid += 1,
            Verdict::Unsure => unsure += 1,
        }
    }
    assert!(valid > 2_000 && invalid > 2_000 && unsure > 2_000, "{valid} valid, {invalid} invalid, {unsure} unsure");
}

/// Whatever the default region, a plain spelling means the same number.
#[test]
fn all_north_american_regions_agree() {
    for cell in [
        "(239) 574-5030",
        "12684620479",
        "8095551234",
        "800-555-1212",
        "911 574 5030",
        "+1 246 250 1234",
        "+1 (239) 574 - 5030",
    ] {
        for code in nanp::REGIONS {
            let region = Region { code: *code, nanp: true };
            assert_ne!(agrees_with_library(cell, region), Verdict::Unsure);
            assert_eq!(Phone::parse(cell, region), Phone::parse(cell, Region::US), "{cell} in {region:?}");
        }
    }
}

fn config() -> Config {
    Config { cases: 1_000, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn plain_spellings_agree(cell in r"\+?1?[ .()-]{0,3}[2-9][0-9]{2}[ .()-]{0,3}[0-9]{3}[ .-]{0,2}[0-9]{3,5}", nanp: bool) {
        agrees_with_library(&cell, if nanp { Region::US } else { region_of("GB") });
    }

    #[test]
    fn jumbles_agree(cell in "[0-9 ().+#/-]{8,24}") {
        agrees_with_library(&cell, Region::US);
    }

    #[test]
    fn garbage_never_panics(cell in any::<String>(), region in prop::sample::select(vec!["US", "IT", "BR", "JP", "MX"])) {
        let region = region_of(region);
        if let Some(phone) = Phone::parse(&cell, region) {
            prop_assert_eq!(Phone::parse(&phone.to_string(), region), Some(phone));
        }
    }

    /// Letters are refused before the library sees a cell, so it is asked directly for once.
    #[test]
    fn likely_garbage_never_panics(cell in r"[+0-9٢２ ()x#;,~*=./\[\]｀'–ａé👍-]{0,60}") {
        let _ = PHONE_NUMBER_UTIL.parse(&cell, LibraryRegion::from_code("US").ok());
        if let Some(phone) = Phone::parse(&cell, Region::US) {
            prop_assert_eq!(Phone::parse(&phone.to_string(), Region::US), Some(phone));
        }
    }
}

/// SplitMix64: the same cells on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn region(&mut self) -> Region {
        match self.below(nanp::REGIONS.len() + 1) {
            at if at < nanp::REGIONS.len() => Region { code: *nanp::REGIONS[at], nanp: true },
            _ => Region { code: *b"GB", nanp: false },
        }
    }

    fn cell(&mut self) -> String {
        let number = self.number();
        let mut cell = self.spelling(&number);
        for _ in 0..self.below(3) {
            self.damage(&mut cell);
        }
        cell.into_iter().collect()
    }

    /// Ten digits, from a prefix that is mostly valid.
    fn number(&mut self) -> String {
        let prefix = loop {
            let prefix = nanp::PREFIXES.start + self.below(800_000) as u64;
            if nanp::prefix(prefix) == Prefix::Valid || self.below(2) == 0 {
                break prefix;
            }
        };
        format!("{prefix}{:04}", self.below(10_000))
    }

    fn spelling(&mut self, number: &str) -> Vec<char> {
        let (area, exchange, line) = (&number[..3], &number[3..6], &number[6..]);
        let spelling = match self.below(7) {
            0 => number.to_owned(),
            1 => format!("({area}) {exchange}-{line}"),
            2 => format!("{area}-{exchange}-{line}"),
            3 => format!("{area}.{exchange}.{line}"),
            4 => format!("1 {area} {exchange} {line}"),
            5 => format!("+1{number}"),
            _ => format!("+1 ({area}) {exchange}-{line}"),
        };
        spelling.chars().collect()
    }

    fn damage(&mut self, cell: &mut Vec<char>) {
        const CHARACTERS: [char; 24] = [
            '0', '1', '1', '2', '3', '5', '8', '9', ' ', ' ', '-', '.', '(', ')', '+', '/', '#', 'x', '*', ',', ';',
            '~', '\u{a0}', '２',
        ];
        let at = self.below(cell.len());
        let character = self.pick(&CHARACTERS);
        match self.below(4) {
            0 => cell.insert(at, character),
            1 => cell[at] = character,
            2 if cell.len() > 1 => drop(cell.remove(at)),
            _ => cell.push(character),
        }
    }
}
