//! Where canonical octets go; neighbouring stretches of the source are copied as one.

use crate::digest::Hasher;
use crate::document::{Span, wide};

/// Octets that are hashed at once. They stay in the nearest cache, and a call for them costs nothing beside them.
pub(super) const PIECE: usize = 4 * 1024;

/// Canonical octets as they grow, kept or hashed.
pub(super) struct Output<'d> {
    source: &'d [u8],
    /// Those that are neither hashed nor in `run`.
    octets: Vec<u8>,
    /// Octets of the source that come next.
    start: usize,
    end: usize,
    hasher: Option<Hasher>,
    hashed: usize,
}

impl<'d> Output<'d> {
    /// Kept. `expected` octets are reserved: a form is about as long as what it is of.
    pub(super) fn new(source: &'d [u8], expected: usize) -> Self {
        let octets = Vec::with_capacity(expected);
        Self { source, octets, start: 0, end: 0, hasher: None, hashed: 0 }
    }

    /// Hashed in pieces, and a long run where it stands.
    pub(super) fn hashed(source: &'d [u8], hasher: Hasher) -> Self {
        Self { hasher: Some(hasher), ..Self::new(source, PIECE) }
    }

    pub(super) const fn source(&self) -> &'d [u8] {
        self.source
    }

    #[inline]
    pub(super) fn copy(&mut self, span: Span) {
        let (start, end) = (wide(span.start), wide(span.end));
        if start != self.end {
            self.flush();
            self.start = start;
        }
        self.end = end;
    }

    pub(super) fn len(&self) -> usize {
        self.hashed + self.octets.len() + self.end - self.start
    }

    pub(super) fn write(&mut self, octets: &[u8]) {
        self.buffer().extend_from_slice(octets);
    }

    /// Where octets are written that the source does not hold; what was written before is hashed once it is a piece.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        self.flush();
        &mut self.octets
    }

    /// The octets that were kept.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.octets
    }

    /// The hash of those that were not.
    pub(super) fn finish_hash(mut self) -> Vec<u8> {
        self.flush();
        self.hash();
        self.hasher.map(Hasher::finish).unwrap_or_default()
    }

    #[inline(never)]
    fn flush(&mut self) {
        let run = self.source.get(self.start..self.end).unwrap_or_default();
        self.start = self.end;
        if self.hasher.is_some() && self.octets.len() + run.len() > PIECE {
            self.hash();
            if let Some(hasher) = self.hasher.as_mut().filter(|_| run.len() > PIECE) {
                hasher.update(run);
                self.hashed += run.len();
                return;
            }
        }
        self.octets.extend_from_slice(run);
    }

    fn hash(&mut self) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.octets);
            self.hashed += self.octets.len();
            self.octets.clear();
        }
    }
}
