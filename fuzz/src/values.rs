//! Values of every type, and phones beside the library that defines them.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region as LibraryRegion};
use roster::contact::{FieldType, Phone, Region, ValueType, normal_form, normal_form_without_nul, trim};

/// What a type takes reads back as itself: the normal form is one.
pub(crate) fn normal_forms(data: &[u8]) {
    let Ok(cell) = str::from_utf8(data) else { return };
    let cell = trim(cell);
    if cell.is_empty() {
        return;
    }
    for value in ValueType::ALL {
        let field_type = FieldType::maybe(value);
        let Ok(normal) = normal_form(cell, field_type, Region::US) else { continue };
        let again = normal_form(&normal, field_type, Region::US);
        assert_eq!(again.as_deref(), Ok(&*normal), "{cell:?} as {field_type}");
        assert_eq!(normal_form_without_nul(cell, field_type, Region::US).as_deref(), Ok(&*normal));
        assert_eq!(trim(&normal), normal, "{cell:?} as {field_type}");
        match value {
            ValueType::Numeric => assert_eq!(normal.parse::<i64>().expect("whole").to_string(), normal),
            ValueType::Float => {
                let number = normal.parse::<f64>().expect("a double");
                assert!(number.is_finite() && number == cell.parse::<f64>().expect("a double"), "{cell:?}: {normal}");
                assert_eq!(number.to_string(), normal, "the shortest decimal of {cell:?}");
            }
            _ => {}
        }
    }
}

/// The first byte chooses the region, the rest is the cell: what is read is what the library reads.
pub(crate) fn phones(data: &[u8]) {
    let Some((&choice, cell)) = data.split_first() else { return };
    let Ok(cell) = str::from_utf8(cell) else { return };
    let code = ["US", "CA", "PR", "GB", "DE", "IT"][usize::from(choice) % 6];
    let cell = trim(cell);
    if cell.len() > 250 {
        return;
    }
    let region = Region::parse(code).expect("a region");
    let found = Phone::parse(cell, region).map(|phone| phone.to_string());
    assert_eq!(found, by_library(cell, code), "{cell:?} in {code}");
}

fn by_library(cell: &str, code: &str) -> Option<String> {
    if cell.chars().any(|letter| letter.is_alphabetic() || letter == '\0') {
        return None;
    }
    let number = PHONE_NUMBER_UTIL.parse(cell, LibraryRegion::from_code(code).ok()).ok()?;
    let is_good = number.extension.is_none() && PHONE_NUMBER_UTIL.is_valid_number(&number);
    let e164 = is_good.then(|| PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).to_string())?;
    e164[1..].parse::<i64>().is_ok().then_some(e164)
}
