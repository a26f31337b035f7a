//! The digest of a canonical form, which is never held as a whole.

use super::Canonicalization;
use super::canonicalizer::Canonicalizer;
use super::output::Output;
use crate::algorithms::Hash;
use crate::digest::{Hasher, digest};
use crate::document::Node;
use crate::encoding::Decoded;
use crate::error::{Error, Refusal};
use crate::limits::Limits;
use crate::reader::{read, read_to};
use crate::sink::{EndTag, Places, Sink, Tag};

impl Canonicalization {
    /// The hash of the canonical form of a whole document: what `digest` says of what [`crate::Document::canonicalize`] says of
    /// what [`read`] says, or the same refusal.
    ///
    /// The form is hashed while the document is read, piece by piece: neither is held, and nothing is known of either before
    /// the reader came to the end.
    ///
    /// # Errors
    /// Those of [`read`] and of [`crate::Document::canonicalize`].
    pub fn digest(&self, hash: Hash, octets: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
        let decoded = Decoded::new(octets, limits)?;
        let output = Output::hashed(&decoded.octets, Hasher::new(hash));
        let longest = limits.growth.saturating_mul(decoded.octets.len());
        let canonicalizer = Canonicalizer::new(self, output, longest);
        let mut form = Form { canonicalizer, refused: false };
        match read_to(&mut form, &decoded, limits) {
            Ok(()) => Ok(form.canonicalizer.output.finish_hash()),
            // A document without canonical form may also be none, further on: that is said first.
            Err(_) if form.refused => {
                let form = read(octets, limits)?.canonicalize(self, None)?;
                Ok(digest(hash, &form))
            }
            Err(error) => Err(error),
        }
    }
}

/// A canonical form that grows while its document is read.
struct Form<'d> {
    canonicalizer: Canonicalizer<'d>,
    /// There is none, whatever the reader says.
    refused: bool,
}

impl Sink for Form<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "called for every tag: a profile asked for it")]
    fn start(&mut self, places: Places<'_>, tag: &Tag<'_>) -> Result<(), Refusal> {
        let mut started = Ok(());
        if tag.declaration_count > 0 {
            started = tag.declarations().try_for_each(|id| places.check_absolute(id));
        }
        let started = match started {
            Ok(()) => self.canonicalizer.start(places, tag),
            Err(error) => Err(error.into()),
        };
        self.refused = started.is_err();
        started
    }

    #[inline]
    fn end(&mut self, tag: EndTag) {
        self.canonicalizer.end(tag);
    }

    #[inline]
    fn node(&mut self, node: Node) {
        self.canonicalizer.node(node);
    }
}
