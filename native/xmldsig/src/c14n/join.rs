//! The `xml:base` of an element without its ancestors: Canonical XML 1.1, 2.4, `xml:base` fixup.
//!
//! The values are joined from the inside outwards, each as a reference against the next as its base (RFC 3986, 5.2, as
//! Canonical XML changes it). Each is walked once, from its end: a `..` takes away the segment that is still to come, in
//! whichever base that stands. So time is linear in all the values together, and what is held is at most as long as they are.

/// Values being joined; a reference to which bases are still to come.
#[derive(Debug, Default)]
pub(super) struct Joined {
    scheme: String,
    authority: String,
    path: Path,
    query: String,
}

/// A path, as it was written or as its segments from the last one to the first.
#[derive(Debug, Default)]
struct Path {
    /// Not yet walked.
    written: Option<String>,
    /// The segments that stay, reversed octet for octet.
    reversed: Vec<u8>,
    /// How many `..` have nothing before them yet.
    ups: usize,
    is_absolute: bool,
    is_directory: bool,
    /// The first segment starts like a scheme.
    is_like_scheme: bool,
}

/// RFC 3986, appendix B; each part with its delimiter, empty where it is undefined.
struct Components<'r> {
    scheme: &'r str,
    authority: &'r str,
    path: &'r str,
    query: &'r str,
}

impl Joined {
    /// The innermost value; all together have at most so many octets.
    pub(super) fn new(reference: &str, octets: usize) -> Self {
        let mut joined = Self::of(reference);
        joined.path.reversed.reserve_exact(octets);
        joined
    }

    fn of(reference: &str) -> Self {
        let Components { scheme, authority, path, query } = Components::of(reference);
        Self {
            scheme: scheme.into(),
            authority: authority.into(),
            path: Path { written: Some(path.into()), ..Path::default() },
            query: query.into(),
        }
    }

    /// Resolve it against the next value outwards, which may be relative too. The fragment is dropped; a trailing `..` of the
    /// base is a directory.
    pub(super) fn resolve(&mut self, base: &str) {
        let base = Components::of(base);
        if !self.scheme.is_empty() {
            return self.path.walk();
        }
        if !self.authority.is_empty() {
            self.scheme = base.scheme.into();
            return self.path.walk();
        }
        let is_parent = base.path == ".." || base.path.ends_with("/..");
        if self.path.is_empty() {
            let end = if is_parent { "/" } else { "" };
            self.path.rewrite([base.path, end].concat());
            if self.query.is_empty() {
                self.query = base.query.into();
            }
        } else {
            self.path.walk();
            if !self.path.is_absolute {
                let root = if base.authority.is_empty() { "" } else { "/" };
                let directory =
                    base.path.rfind('/').map_or(root, |end| base.path.split_at(end + 1).0);
                self.path.prepend(if is_parent { base.path } else { directory });
            }
        }
        self.scheme = base.scheme.into();
        self.authority = base.authority.into();
        if self.scheme.is_empty() && self.path.starts_like_scheme() {
            // What is read back from `./a:b` joined is a scheme, and nothing is joined to it any more.
            let written = std::mem::take(self).finish();
            *self = Self::new(&written, written.len());
        }
    }

    /// The whole, as it is written.
    pub(super) fn finish(self) -> String {
        let Self { scheme, authority, path, query } = self;
        [scheme, authority, path.finish(), query].concat()
    }
}

impl Path {
    fn is_empty(&self) -> bool {
        match &self.written {
            Some(written) => written.is_empty(),
            None => self.reversed.is_empty() && self.ups == 0 && !self.is_absolute,
        }
    }

    /// In the place of an empty one, which leaves nothing behind.
    fn rewrite(&mut self, path: String) {
        self.written = Some(path);
        self.is_directory = false;
    }

    /// RFC 3986, 5.2.4, as Canonical XML 1.1, 2.4, changes it: `..` that lead out of a relative path stay, a final one is a
    /// directory, and slashes that follow each other are one.
    fn walk(&mut self) {
        let Some(path) = self.written.take() else {
            return;
        };
        self.is_directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
        self.prepend(&path);
    }

    /// Put a directory before it.
    fn prepend(&mut self, directory: &str) {
        for segment in directory.rsplit('/') {
            match segment {
                "" | "." => {}
                ".." => self.ups += 1,
                _ if self.ups > 0 => self.ups -= 1,
                _ => {
                    if !self.reversed.is_empty() {
                        self.reversed.push(b'/');
                    }
                    self.reversed.extend(segment.bytes().rev());
                    self.is_like_scheme = segment.find(':').is_some_and(|at| at > 0);
                }
            }
        }
        if directory.starts_with('/') {
            self.is_absolute = true;
            self.ups = 0;
        }
    }

    fn starts_like_scheme(&self) -> bool {
        let is_walked = self.written.is_none() && !self.reversed.is_empty();
        is_walked && self.is_like_scheme && self.ups == 0 && !self.is_absolute
    }

    fn finish(mut self) -> String {
        if let Some(path) = self.written {
            return path;
        }
        self.reversed.reverse();
        let kept = String::from_utf8_lossy(&self.reversed);
        let start = if self.is_absolute { "/" } else { "" };
        let end = if self.is_directory && !kept.is_empty() { "/" } else { "" };
        [start, &"../".repeat(self.ups), &kept, end].concat()
    }
}

impl<'r> Components<'r> {
    fn of(reference: &'r str) -> Self {
        let cut =
            |text: &'r str, stops: &[char]| text.split_at(text.find(stops).unwrap_or(text.len()));
        let (rest, _) = cut(reference, &['#']);
        let (rest, query) = cut(rest, &['?']);
        let (name, behind) = cut(rest, &[':', '/']);
        let has_scheme = !name.is_empty() && behind.starts_with(':');
        let (scheme, rest) = rest.split_at(if has_scheme { name.len() + 1 } else { 0 });
        let authority = match rest.strip_prefix("//") {
            Some(behind) => 2 + cut(behind, &['/']).0.len(),
            None => 0,
        };
        let (authority, path) = rest.split_at(authority);
        Self { scheme, authority, path, query }
    }
}

#[cfg(test)]
mod tests;
