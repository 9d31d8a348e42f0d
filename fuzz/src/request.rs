//! The signed request, as far as it goes without a socket: headers and body become a claim, a signature that holds, and options.

use jiff::{SignedDuration, Timestamp};
use roster::signature::{Claim, print_digest, read_digest, sign, verify};
use roster::tenant::ProgramId;
use roster::wire::{read_import, write_import};

const SECRET: &[u8] = b"INVENTED_SECRET";
const PATH: &str = "/v2/programs/0198c9a2-7e5b-7d50-8000-000000000001/participants";
const PROGRAM: &str = "0198c9a2-7e5b-7d50-8000-000000000001";

/// `authorization \n date \n body`: what the headers claim holds if it is signed so, and holds no more after a change.
pub(crate) fn signed_request(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let [authorization, date, body] = [(); 3].map(|()| parts.next().unwrap_or_default());
    if let Ok(claim) = Claim::from_headers(Some(authorization), Some(date)) {
        let off = claim.clock_off(Timestamp::UNIX_EPOCH, SignedDuration::from_mins(15));
        assert!(off.is_none_or(|seconds| seconds.abs() > 15 * 60), "{off:?} is within the window");
        check_claim(&claim, body);
    }
    let program = ProgramId::parse(PROGRAM).expect("an id");
    match read_import(body.to_vec(), program) {
        Err(faults) => assert!(!faults.is_empty(), "refused without a reason"),
        Ok(request) => {
            let csv = str::from_utf8(&request.participants).expect("UTF-8");
            let written = write_import(PROGRAM, &request.options, csv);
            assert_eq!(read_import(written.into_bytes(), program).as_ref(), Ok(&request), "written and read again");
        }
    }
}

fn check_claim(claim: &Claim, body: &[u8]) {
    let signature = sign(&claim.token, SECRET, "POST", PATH, body, &claim.timestamp);
    let header = format!("SignalVine {}:{signature}", claim.token);
    let signed = Claim::from_headers(Some(header.as_bytes()), Some(claim.timestamp.as_bytes()))
        .expect("what was read once is read again");
    assert_eq!((&signed.token, &signed.timestamp), (&claim.token, &claim.timestamp));
    assert_eq!(signed.signed_at, claim.signed_at);
    verify(&signed, SECRET, "POST", PATH, body).expect("it was signed so");
    // A digit is no letter and no white space, so that every form of the body differs by it.
    verify(&signed, SECRET, "POST", PATH, &[body, b"7"].concat()).expect_err("another body");
    verify(&signed, b"another", "POST", PATH, body).expect_err("another secret");
}

/// `Content-Digest`: what is read is what stands there in the way that it is printed.
pub(crate) fn content_digest(data: &[u8]) {
    let Ok(value) = str::from_utf8(data) else { return };
    if let Some(digest) = read_digest(value) {
        let printed = print_digest(&digest);
        assert!(value.contains(&printed["sha-256=".len()..]), "{value:?} was read as {printed}");
        assert_eq!(read_digest(&printed), Some(digest));
    }
}
