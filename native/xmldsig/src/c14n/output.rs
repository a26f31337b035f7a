//! Where canonical octets go; neighbouring stretches of the source are copied as one.

use crate::document::Span;

/// Canonical octets as they grow.
pub(super) struct Output<'d> {
    source: &'d [u8],
    octets: Vec<u8>,
    run: Span,
}

impl<'d> Output<'d> {
    /// `expected` octets are reserved: a form is about as long as what it is of.
    pub(super) fn new(source: &'d [u8], expected: usize) -> Self {
        Self { source, octets: Vec::with_capacity(expected), run: Span::EMPTY }
    }

    #[inline]
    pub(super) fn copy(&mut self, span: Span) {
        if span.start == self.run.end {
            self.run.end = span.end;
        } else {
            self.flush();
            self.run = span;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.octets.len() + self.run.of(self.source).len()
    }

    pub(super) fn write(&mut self, octets: &[u8]) {
        self.buffer().extend_from_slice(octets);
    }

    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        self.flush();
        &mut self.octets
    }

    #[inline(never)]
    fn flush(&mut self) {
        self.octets.extend_from_slice(self.run.of(self.source));
        self.run.start = self.run.end;
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.octets
    }
}
