//! Documents of every shape that makes a reader or a canonicalizer work, each as long as it is asked to be.

#![expect(
    unreachable_pub,
    reason = "each test is a crate of its own, and this is a module of both"
)]

/// What one shape repeats, between what stands before and behind it.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    before: &'static str,
    repeated: &'static str,
    behind: &'static str,
}

/// Those that may be as long as a document.
pub const SHAPES: [Shape; 26] = [
    shape("empty elements", "<a>", "<b/>", "</a>"),
    shape("elements", "<a>", "<b></b>", "</a>"),
    shape("elements and text", "<a>", "<b>c</b>d", "</a>"),
    shape("long names", "<a>", "<bbbbbbbbbbbbbbbbbbbbbbbb></bbbbbbbbbbbbbbbbbbbbbbbb>", "</a>"),
    shape("attributes", "<a>", "<b c='' d='' e=''/>", "</a>"),
    shape("unsorted attributes", "<a>", "<b e='' d='' c='' b='' a=''/>", "</a>"),
    shape("declarations", "<a>", "<b xmlns='x:' xmlns:p='y:'/>", "</a>"),
    shape("normalized declarations", "<a>", "<b xmlns='&#120;:' xmlns:p='&#121;:'/>", "</a>"),
    shape("redeclarations", "<a xmlns='x:'>", "<b xmlns=''><c xmlns='x:'/></b>", "</a>"),
    shape("prefixed", "<p:a xmlns:p='x:' xmlns:q='y:'>", "<p:b q:c='' p:c=''/>", "</p:a>"),
    shape("text", "<a>", "0123456789", "</a>"),
    shape("lines", "<a>", "0\r\n", "</a>"),
    shape("greater-than signs", "<a>", ">", "</a>"),
    shape("square brackets", "<a>", "]", "</a>"),
    shape("references", "<a>", "&lt;", "</a>"),
    shape("comments", "<a>", "<!---->", "</a>"),
    shape("instructions", "<a>", "<?p?>", "</a>"),
    shape("CDATA sections", "<a>", "<![CDATA[]]>", "</a>"),
    shape("ampersands in a CDATA section", "<a><![CDATA[", "&", "]]></a>"),
    shape("dashes", "<a><!--", "- ", "--></a>"),
    shape("question marks", "<a><?p ", "? ", "?></a>"),
    shape("beside the root", "<a/>", "<?p?>", ""),
    shape("not ASCII", "<a>", "<é>ü</é>", "</a>"),
    shape("tabs", "<a>", "\t\t0\n", "</a>"),
    shape("names in turns", "<a>", "<b/><c/><d/><b/><d/>", "</a>"),
    shape(
        "prefixes in turns",
        "<p:a xmlns:p='x:'>",
        "<p:b xmlns:p='y:'><p:b/></p:b><p:b><p:b xmlns:p='z:'/></p:b>",
        "</p:a>",
    ),
];

const fn shape(
    name: &'static str,
    before: &'static str,
    repeated: &'static str,
    behind: &'static str,
) -> Shape {
    Shape { name, before, repeated, behind }
}

impl Shape {
    /// A document of about so many octets.
    pub fn document(&self, octets: usize) -> String {
        let times = octets / self.repeated.len();
        [self.before, &self.repeated.repeat(times), self.behind].concat()
    }
}

/// Documents at the bounds that would cost more than the others, were they not bounded: elements as deep as allowed with as
/// many namespaces in scope as allowed, and as many attributes on each element as allowed.
pub fn at_the_bounds(octets: usize) -> Vec<(&'static str, String)> {
    let namespaces = joined(64, |n| format!(" xmlns:p{n}='x:{n}'"));
    let used = joined(64, |n| format!("<p{n}:b p{}:c=''/>", 63 - n));
    let attributes = joined(256, |n| format!(" a{}=''", 255 - n));
    let ids = joined(octets / 20, |n| format!("<b xml:id='i{n}'/>"));
    let deep = ["<a xml:base='b/' xml:lang=''>".repeat(99), "</a>".repeat(99)].concat();
    let long = "x".repeat(octets / 8);
    let many = |repeated: &str| repeated.repeat(octets / repeated.len() + 1);
    vec![
        ("namespaces in scope", format!("<a{namespaces}>{}</a>", many(&used))),
        ("namespaces by element", format!("<a>{}</a>", many(&format!("<b{namespaces}/>")))),
        ("attributes by element", format!("<a>{}</a>", many(&format!("<b{attributes}/>")))),
        ("IDs", format!("<a>{ids}</a>")),
        ("distinct names", format!("<a>{}</a>", joined(octets / 8, |n| format!("<b{n}/>")))),
        (
            "distinct long names",
            format!(
                "<a>{}</a>",
                joined(octets / 80, |n| format!("<{}{n} {0}='{n}'/>", "b".repeat(32)))
            ),
        ),
        (
            "distinct prefixes",
            format!("<a>{}</a>", joined(octets / 24, |n| format!("<p{n}:b xmlns:p{n}='x:{n}'/>"))),
        ),
        ("depth", format!("<a>{}</a>", many(&deep))),
        (
            "one long namespace in use again and again",
            format!("<a xmlns:p='x:{long}'><p:b xmlns:q='x:{long}'>{}</p:b></a>", many("<q:c/>")),
        ),
        (
            "one long namespace in use here and there",
            format!("<a xmlns:p='x:{long}'>{}</a>", many("<p:b/>")),
        ),
    ]
}

/// Documents whose element with the ID `i` takes much over from those around it.
pub fn by_id(octets: usize) -> Vec<(&'static str, String)> {
    let around = |start: &str, levels: usize, own: &str| {
        [&start.repeat(levels), "<z ID='i'", own, "/>", &"</a>".repeat(levels)].concat()
    };
    let base = |value: &str| format!("<a xml:base='{value}'>");
    let segments = |octets: usize| base(&"a/".repeat(octets / 2));
    let names = joined(255, |n| format!(" xml:a{n}=''"));
    let levels = octets / names.len() + 1;
    let start_tags =
        joined(levels, |level| format!("<a{}>", names.replace(":a", &format!(":a{level}-"))));
    let own = " xml:base='q'";
    let own_base = format!(" xml:base='{}'", "a/".repeat(octets / 2));
    vec![
        ("one long xml:base", around(&segments(octets), 1, own)),
        ("one long xml:base, of the element", around(&base("q"), 1, &own_base)),
        ("xml:base in xml:base", around(&segments(octets / 99), 99, own)),
        ("xml:base in empty xml:base", around(&base(""), 98, &own_base)),
        ("xml:base that leads up", around(&base(&"../".repeat(octets / 297)), 99, own)),
        ("xml:base with references", around(&base(&"&#97;/".repeat(octets / 594)), 99, own)),
        (
            "xml:base that is absolute",
            around(&base(&format!("x://{}", "a/".repeat(octets / 198))), 99, own),
        ),
        ("xml: attributes", format!("{start_tags}<z ID='i'/>{}", "</a>".repeat(levels))),
    ]
}

fn joined(times: usize, piece: impl Fn(usize) -> String) -> String {
    (0..times).map(piece).collect::<Vec<_>>().concat()
}
