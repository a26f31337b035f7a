//! Names that came by before: a document repeats few of them, mostly in one of two orders, and what was found out about one need
//! not be found out again.
//!
//! Of bounded size, so that memory and time are the same whatever the names: one that is not known is read octet by octet, and
//! takes the place of another where there are too many.

use crate::document::{Name, wide};
use crate::namespaces::prefix_word;
use crate::words::{WORD, are_equal, first_of, word_at};

/// As many names are known at once, and one of no length.
const MOST: usize = 1 << u8::BITS;
/// The prefix `xmlns`, as the scope compares it.
const XMLNS: u64 = u64::from_le_bytes(*b"\x05xmlns\0\0");

/// The place of a name among those known; what stands there is of that name until the next one is read. 0 is no name's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Slot(u8);

#[derive(Debug)]
pub(super) struct Names {
    /// The first is of no length, and so nowhere.
    known: Vec<Known>,
    /// By the hash of a name, the last one of that hash: another one is still expected where it was.
    slots: [Slot; MOST],
    last: Slot,
    /// The one whose place was taken last.
    replaced: Slot,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// The start of its local part, as attributes are sorted.
    pub(super) order: u64,
    /// Its prefix, as the scope compares it.
    pub(super) prefix: u64,
    /// Where it stood the first time, and how long it is: not at all where nothing is known.
    start: u32,
    len: u16,
    /// Where its prefix stood in the scope the last time.
    pub(super) binding: u32,
    pub(super) prefix_len: u16,
    /// It is `xmlns`, or its prefix is.
    pub(super) declares: bool,
    /// The one that came after it the first time, and the last other one.
    next: [Slot; 2],
}

impl Names {
    pub(super) fn new() -> Self {
        let mut known = Vec::with_capacity(32);
        known.push(Known::default());
        Self { known, slots: [Slot(0); MOST], last: Slot(0), replaced: Slot(0) }
    }

    /// The name at `start`, if it is one of those that came after the last one before; how long it is.
    #[inline]
    pub(super) fn expected(&mut self, octets: &[u8], start: usize) -> Option<(Slot, usize)> {
        let (slot, end) = self.start_of_expected(octets, start)?;
        octets.get(end).filter(|&&octet| is_end(octet))?;
        self.last = slot;
        Some((slot, end - start))
    }

    /// The same where it is not known whether the name ends there.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "called for every tag: a profile asked for it")]
    pub(super) fn start_of_expected(&self, octets: &[u8], start: usize) -> Option<(Slot, usize)> {
        let [next, other] = self.at(self.last).next;
        let starts = |slot| self.at(slot).starts_at(octets, start);
        let slot = if starts(next) {
            next
        } else if starts(other) {
            other
        } else {
            return None;
        };
        Some((slot, start + usize::from(self.at(slot).len)))
    }

    /// The expected name was there.
    #[inline]
    pub(super) const fn advance(&mut self, slot: Slot) {
        self.last = slot;
    }

    /// Where a name that was read is known, from now on if not before.
    pub(super) fn keep(&mut self, octets: &[u8], name: Name) -> Slot {
        let place = usize::from(hash(octets, name));
        let found = self.slots.get(place).copied().unwrap_or_default();
        let known = self.at(found);
        let slot = if known.len == name.len && known.starts_at(octets, wide(name.start)) {
            found
        } else {
            self.add(place, Known::new(octets, name))
        };
        let last = self.last;
        let [next, other] = &mut self.at_mut(last).next;
        *(if *next == Slot(0) { next } else { other }) = slot;
        self.last = slot;
        slot
    }

    fn add(&mut self, place: usize, known: Known) -> Slot {
        let slot = if let Ok(slot) = u8::try_from(self.known.len()) {
            self.known.push(known);
            Slot(slot)
        } else {
            self.replaced = Slot(self.replaced.0.checked_add(1).unwrap_or(1));
            *self.at_mut(self.replaced) = known;
            self.replaced
        };
        if let Some(place) = self.slots.get_mut(place) {
            *place = slot;
        }
        slot
    }

    #[inline]
    pub(super) fn at(&self, slot: Slot) -> &Known {
        #[expect(clippy::indexing_slicing, reason = "a slot is made where a name is added")]
        &self.known[usize::from(slot.0)]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, slot: Slot) -> &mut Known {
        #[expect(clippy::indexing_slicing, reason = "a slot is made where a name is added")]
        &mut self.known[usize::from(slot.0)]
    }
}

/// The same of names of one length that start and end alike.
fn hash(octets: &[u8], name: Name) -> u8 {
    let (start, len) = (wide(name.start), usize::from(name.len));
    let word = |start| first_of(word_at(octets, start).unwrap_or_default(), len);
    let both = word(start) ^ word(start + len.saturating_sub(WORD)).rotate_left(32);
    let [.., high] = both.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    high
}

impl Known {
    fn new(octets: &[u8], name: Name) -> Self {
        let prefix = prefix_word(octets, name);
        Self {
            order: name.order(octets),
            prefix,
            start: name.start,
            len: name.len,
            binding: 0,
            prefix_len: name.prefix_len,
            declares: prefix == XMLNS || prefix == 0 && name.span().of(octets) == b"xmlns",
            next: [Slot(0); 2],
        }
    }

    /// Whether this name, or one that goes on, stands at `start`.
    #[inline]
    fn starts_at(&self, octets: &[u8], start: usize) -> bool {
        self.len > 0 && are_equal(octets, wide(self.start), start, usize::from(self.len))
    }
}

/// Whether an octet ends a name: white space, `/`, `=`, `>`, and others that no name has.
#[inline]
const fn is_end(octet: u8) -> bool {
    matches!(octet, 0..=b' ' | b'/' | b'<'..=b'?')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{DeclarationId, narrow};

    /// Names of one document, each behind a space, as the reader hands them over.
    fn read(names: &mut Names, octets: &[u8]) -> Vec<(bool, Slot)> {
        let starts = memchr::memchr_iter(b' ', octets).map(|place| place + 1);
        let one = |start: usize| {
            if let Some((slot, _)) = names.expected(octets, start) {
                return (true, slot);
            }
            let len = octets[start..].iter().position(|&octet| is_end(octet)).unwrap();
            let prefix_len = octets[start..start + len].iter().position(|&octet| octet == b':');
            let name = Name {
                start: narrow(start),
                len: len.try_into().unwrap(),
                prefix_len: prefix_len.unwrap_or_default().try_into().unwrap(),
                binding: DeclarationId::NONE,
            };
            let slot = names.keep(octets, name);
            assert_eq!(names.at(slot).len, name.len);
            (false, slot)
        };
        starts.map(one).collect()
    }

    #[test]
    fn a_list_of_records_is_expected_from_the_second_on() {
        let octets = " p:record= a= p:other= a= b= a-name-of-more-than-two-words=".repeat(5);
        let mut names = Names::new();
        let found = read(&mut names, octets.as_bytes());
        assert!(found.iter().skip(13).all(|name| name.0), "{found:?}");
    }

    #[test]
    fn a_name_that_goes_on_is_another() {
        let mut names = Names::new();
        let found = read(&mut names, b" ab= abc= ab= abc= a= ab:c= ab= abcdefgh= abcdefghi=");
        let slots: Vec<u8> = found.iter().map(|name| name.1.0).collect();
        assert_eq!(slots[..7], [1, 2, 1, 2, 3, 4, 1]);
        assert_ne!(slots[7], slots[8]);
    }

    #[test]
    fn what_declares_is_known_by_its_whole_prefix() {
        let mut names = Names::new();
        let found = read(&mut names, b" xmlns= xmlns:a= xmln= xmlns-a= xmlnsa:b= a:xmlns=");
        let declares = found.iter().map(|name| names.at(name.1).declares);
        assert!(declares.eq([true, true, false, false, false, false]));
    }

    #[test]
    fn more_names_than_are_known_take_the_places_of_others() {
        let octets: Vec<String> = (0..2000).map(|n| format!(" n{}=", n % 700)).collect();
        let mut names = Names::new();
        read(&mut names, octets.concat().as_bytes());
        assert_eq!(names.known.len(), MOST);
    }
}
