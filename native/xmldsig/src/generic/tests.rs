use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::algorithms::{C14N_10, Profile, SignatureAlgorithm};
use crate::c14n::{Canonicalization, Method};
use crate::digest::{KeyRefused, SignatureMismatch, sha256};

const ENVELOPED: &str =
    "<Transform Algorithm='http://www.w3.org/2000/09/xmldsig#enveloped-signature'/>";
const EXCLUSIVE: &str = "<Transform Algorithm='http://www.w3.org/2001/10/xml-exc-c14n#'/>";
const ECDSA: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256";

/// A key whose signature of a digest is the digest.
struct Echo;

impl PublicKeyVerifier for Echo {
    fn from_spki(_: &[u8], _: SignatureAlgorithm, _: Profile) -> Result<Self, KeyRefused> {
        Ok(Self)
    }

    fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<(), SignatureMismatch> {
        if digest == signature { Ok(()) } else { Err(SignatureMismatch::new()) }
    }
}

/// The document with `$S` replaced by a signature of `covered` whose Reference has this URI and these transforms.
fn signed(document: &str, uri: &str, transforms: &str, covered: &str) -> String {
    let reference = format!("URI='{uri}'><Transforms>{transforms}</Transforms");
    completed(&document.replace("$S", &signature(&reference, "")), covered)
}

/// A signature that lacks `$D` and `$V`.
fn signature(reference: &str, behind: &str) -> String {
    format!(
        "<Signature xmlns='http://www.w3.org/2000/09/xmldsig#'><SignedInfo Id='s'>\
         <CanonicalizationMethod Algorithm='{C14N_10}'/><SignatureMethod Algorithm='{ECDSA}'/><Reference {reference}>\
         <DigestMethod Algorithm='http://www.w3.org/2001/04/xmlenc#sha256'/><DigestValue>$D</DigestValue></Reference>\
         </SignedInfo><SignatureValue>$V</SignatureValue>{behind}</Signature>"
    )
}

/// The document with `$D` and `$V` filled in.
fn completed(document: &str, covered: &str) -> String {
    let document = document.replace("$D", &STANDARD.encode(sha256(covered.as_bytes())));
    let form = Canonicalization::new(Method::Inclusive, false);
    let read = read(document.as_bytes(), &Limits::default()).unwrap();
    // A document that is refused for its IDs has none to look for.
    let signed_info = read.canonicalize(&form, Some("s")).unwrap_or_default();
    document.replace("$V", &STANDARD.encode(sha256(&signed_info)))
}

fn verify(document: &str) -> Result<String, Error> {
    let policy = Policy::generic(false);
    let octets = verify_signature::<Echo>(document.as_bytes(), &[], policy, &Limits::default())?;
    Ok(String::from_utf8(octets).unwrap())
}

/// Why a document is refused.
fn refusal(document: &str) -> (SignatureFault, &'static str) {
    match verify(document) {
        Err(Error::Signature { fault, detail }) => (fault, detail),
        other => panic!("{document}: {other:?}"),
    }
}

#[test]
fn an_enveloped_signature_covers_the_element_it_names() {
    let covered = "<b xmlns=\"x:\" Id=\"i\">1<c></c></b>";
    for (transforms, covered) in [
        (format!("{ENVELOPED}{EXCLUSIVE}"), covered.to_owned()),
        (ENVELOPED.to_owned(), covered.replace("xmlns=\"x:\"", "xmlns=\"x:\" xmlns:p=\"y:\"")),
    ] {
        let document = "<a xmlns='x:' xmlns:p='y:'>0<b Id='i'>1<!--2-->$S<c/></b></a>";
        let document = signed(document, "#i", &transforms, &covered);
        assert_eq!(verify(&document), Ok(covered));
        let changed = document.replace(">1<", ">2<");
        assert_eq!(refusal(&changed).0, SignatureFault::DigestMismatch);
        // Nobody is known to have asked for this digest, so nothing is digested.
        let unsigned = changed.replace("<SignatureValue>", "<SignatureValue>AAAA");
        assert_eq!(refusal(&unsigned).0, SignatureFault::SignatureInvalid);
        assert_eq!(verify(&document.replace(">0<", ">3<")), verify(&document));
    }
}

#[test]
fn an_empty_reference_covers_the_document_and_what_stands_beside_the_root() {
    let covered = "<?p?>\n<a>1</a>\n<?q r?>";
    let document = signed("<?p?><!--c--><a>1$S</a><?q r?>", "", ENVELOPED, covered);
    assert_eq!(verify(&document).as_deref(), Ok(covered));
    let moved = document.replace("<?q r?>", "");
    assert_eq!(refusal(&moved).0, SignatureFault::DigestMismatch);
}

#[test]
fn an_enveloping_signature_covers_its_object() {
    let object = "<Object Id='o'><d xmlns='' Id='i'>1</d></Object>";
    for (id, covered) in [
        (
            "o",
            "<Object xmlns=\"http://www.w3.org/2000/09/xmldsig#\" Id=\"o\"><d xmlns=\"\" Id=\"i\">1</d></Object>",
        ),
        ("i", "<d Id=\"i\">1</d>"),
    ] {
        let document = completed(&signature(&format!("URI='#{id}'"), object), covered);
        assert_eq!(verify(&document).as_deref(), Ok(covered));
    }
}

#[test]
fn a_detached_signature_covers_an_element_beside_it() {
    for name in ["ID", "Id", "AssertionID", "xml:id"] {
        let covered = format!("<b {name}=\"i\"></b>");
        let document = format!("<a><h>$S</h><b {name}='i'/></a>");
        let document = signed(&document, "#i", EXCLUSIVE, &covered);
        assert_eq!(verify(&document), Ok(covered));
    }
}

#[test]
fn of_signatures_inside_each_other_the_outermost_counts() {
    let inner = "<b Id='j'><Signature xmlns='http://www.w3.org/2000/09/xmldsig#'/></b>";
    let covered = "<a Id=\"i\"><b Id=\"j\"><Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\"></Signature></b></a>";
    let document = format!("<r><a Id='i'>{inner}$S</a></r>");
    assert_eq!(verify(&signed(&document, "#i", ENVELOPED, covered)).as_deref(), Ok(covered));
    for document in [format!("<r>{inner}<a Id='i'>$S</a></r>"), "<a Id='i'>$S$S</a>".to_owned()] {
        let several = SignatureFault::SeveralSignatures;
        assert_eq!(refusal(&signed(&document, "#i", ENVELOPED, "")).0, several);
    }
    assert_eq!(refusal("<a/>").0, SignatureFault::SignatureMissing);
}

#[test]
fn comments_are_never_signed_and_never_returned() {
    let with = "<Transform Algorithm='http://www.w3.org/2001/10/xml-exc-c14n#WithComments'/>";
    let document = signed(
        "<a Id='i'><!--c-->1$S</a>",
        "#i",
        &format!("{ENVELOPED}{with}"),
        "<a Id=\"i\">1</a>",
    );
    assert_eq!(verify(&document).as_deref(), Ok("<a Id=\"i\">1</a>"));
}

/// A legal signature, something in it, what that is replaced by, and why it is refused then.
const FORBIDDEN: [(&str, &str, &str); 23] = [
    ("URI='#i'", "URI='http://example.com/'", "leads outside the document"),
    ("URI='#i'", "URI='other.xml#i'", "leads outside the document"),
    ("URI='#i'", "URI='#'", "leads outside the document"),
    ("URI='#i'", "", "has no URI"),
    ("URI='#i'", "URI='#xpointer(/)'", "is not an ID"),
    ("URI='#i'", "URI=\"#xpointer(id('i'))\"", "is not an ID"),
    ("URI='#i'", "URI='#element(i)'", "is not an ID"),
    ("URI='#i'", "URI='#xpointer%28/%29'", "is not an ID"),
    ("URI='#i'", "URI='#nobody'", "no element has the ID"),
    ("URI='#i'", "URI='#s'", "is for what the signature stands in"),
    ("<c/>", "<c Id='i'/>", "an ID stands twice"),
    ("<c/>", "<c xml:id='i'/>", "an ID stands twice"),
    ("$E", "", "Transforms holds no transform"),
    ("$E", "$X", "is for what the signature stands in"),
    ("$E", "$X$E", "stands where none may"),
    ("$E", "$E$E", "is not one this verifier knows"),
    ("$E", "$E$X$X", "more than the two"),
    (
        "$E",
        "$E<Transform Algorithm='http://www.w3.org/TR/1999/REC-xslt-19991116'/>",
        "is not one this verifier knows",
    ),
    (
        "$E",
        "<Transform Algorithm='http://www.w3.org/TR/1999/REC-xpath-19991116'><XPath>1</XPath></Transform>",
        "is not one this",
    ),
    (
        "$E",
        "$E<Transform Algorithm='http://www.w3.org/2000/09/xmldsig#base64'/>",
        "is not one this verifier knows",
    ),
    ("</Reference>", "</Reference><Reference/>", "one Reference"),
    ("$D</", "$D<!----></", "holds more than text"),
    ("$V</", "<!---->$V</", "holds more than text"),
];

#[test]
fn every_other_shape_is_refused_by_name() {
    let legal =
        format!("<a Id='i'><c/>{}</a>", signature("URI='#i'><Transforms>$E</Transforms", ""));
    for (found, replacement, wanted) in FORBIDDEN {
        assert!(legal.contains(found), "{found}");
        let document =
            legal.replace(found, replacement).replace("$E", ENVELOPED).replace("$X", EXCLUSIVE);
        let (fault, detail) = refusal(&completed(&document, ""));
        assert_eq!(fault, SignatureFault::SignatureProfile, "{found} {replacement}: {detail}");
        assert!(detail.contains(wanted), "{found} {replacement}: {detail}");
    }
}

#[test]
fn an_xpointer_is_none_though_an_element_has_it_as_its_id() {
    for (id, accepted) in [("xpointer(/)", false), ("element(i)", false), ("8c1f-é", true)] {
        let covered = format!("<a Id=\"{id}\"></a>");
        let document =
            signed(&format!("<a Id='{id}'>$S</a>"), &format!("#{id}"), ENVELOPED, &covered);
        if accepted {
            assert_eq!(verify(&document), Ok(covered));
        } else {
            assert_eq!(refusal(&document).1, "the fragment of a Reference is not an ID");
        }
    }
}

#[test]
fn a_signature_does_not_cover_itself_or_its_key_info() {
    let key_info = "<KeyInfo Id='k'/><Object Id='o'/>";
    for reference in ["URI='#s'", "URI='#k'", "URI=''"] {
        let document = completed(&signature(reference, key_info), "");
        let (fault, detail) = refusal(&document);
        assert_eq!(fault, SignatureFault::SignatureProfile);
        assert_eq!(detail, "the Reference is to a part of the signature itself", "{reference}");
    }
    let whole = signature(&format!("URI='#w'><Transforms>{ENVELOPED}</Transforms"), key_info);
    let whole = completed(&whole.replacen("<Signature ", "<Signature Id='w' ", 1), "");
    assert_eq!(refusal(&whole).0, SignatureFault::SignatureProfile);
}

#[test]
fn there_is_one_signed_info_and_it_comes_first() {
    let legal = signed("<a Id='i'>$S</a>", "#i", ENVELOPED, "<a Id=\"i\"></a>");
    assert!(verify(&legal).is_ok());
    let start = legal.find("<SignedInfo").unwrap();
    let end = legal.find("<SignatureValue").unwrap();
    let signed_info = &legal[start..end];
    for (found, replacement) in [
        (signed_info.to_owned(), String::new()),
        (signed_info.to_owned(), format!("{}{signed_info}", signed_info.replace("'s'", "'t'"))),
        (signed_info.to_owned(), format!("<Object>{signed_info}</Object>")),
        ("</Signature>".to_owned(), "<SignedInfo/></Signature>".to_owned()),
        ("</Signature>".to_owned(), "<KeyInfo/><KeyInfo/></Signature>".to_owned()),
    ] {
        let (fault, detail) = refusal(&legal.replace(&found, &replacement));
        assert_eq!(fault, SignatureFault::SignatureProfile);
        assert!(detail.starts_with("Signature is not SignedInfo"), "{replacement}: {detail}");
    }
}

#[test]
fn hmac_is_no_algorithm() {
    let legal = signed("<a Id='i'>$S</a>", "#i", ENVELOPED, "<a Id=\"i\"></a>");
    let hmac = legal.replace(ECDSA, "http://www.w3.org/2000/09/xmldsig#hmac-sha1");
    assert_eq!(refusal(&hmac).0, SignatureFault::AlgorithmNotAllowed);
}

#[test]
fn an_inclusive_canonicalization_has_no_prefix_list() {
    let list =
        "<i:InclusiveNamespaces xmlns:i='http://www.w3.org/2001/10/xml-exc-c14n#' PrefixList='a'/>";
    let transform = format!("{ENVELOPED}<Transform Algorithm='{C14N_10}'>{list}</Transform>");
    let (_, detail) = refusal(&signed("<a Id='i'>$S</a>", "#i", &transform, ""));
    assert_eq!(detail, "canonicalization has a parameter outside the profile");
}

#[test]
fn an_encrypted_assertion_is_refused_by_name() {
    let around = |inside: &str| {
        let form = format!("<a ID=\"i\">{inside}</a>");
        let transforms = [ENVELOPED, EXCLUSIVE].concat();
        signed(&format!("<a ID='i'>$S{inside}</a>"), "#i", &transforms, &form)
    };
    let encrypted = "<s:EncryptedAssertion xmlns:s=\"urn:oasis:names:tc:SAML:2.0:assertion\"></s:EncryptedAssertion>";
    let (fault, detail) = refusal(&around(encrypted));
    assert_eq!(fault, SignatureFault::SignatureProfile);
    assert!(detail.contains("EncryptedAssertion"), "{detail}");
    assert!(verify(&around(&encrypted.replace("2.0:assertion", "2.0:other"))).is_ok());
}
