use super::*;

fn refusal(document: &str) -> Error {
    read(document.as_bytes(), &Limits::default()).unwrap_err()
}

#[test]
fn reads() {
    assert!(read(b"<a/>", &Limits::default()).is_ok());
    assert!(matches!(refusal("<a>"), Error::Malformed { .. }));
}
