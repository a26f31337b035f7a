//! Octets eight at a time: the scans of the reader, without a branch for each octet.

/// Octets looked at in one step.
pub(crate) const WORD: usize = 8;
/// One in every octet of a word.
pub(crate) const ONES: u64 = u64::MAX / 0xFF;
/// The high bit of every octet of a word.
pub(crate) const HIGH: u64 = ONES << 7;

/// Eight octets, the first one lowest.
#[inline]
pub(crate) fn word_at(octets: &[u8], start: usize) -> Option<u64> {
    let chunk = octets.get(start..start.checked_add(WORD)?)?.first_chunk()?;
    Some(u64::from_le_bytes(*chunk))
}

/// The first `count` octets of a word, the others zero; all of it from eight on.
#[inline]
pub(crate) const fn first_of(word: u64, count: usize) -> u64 {
    if count < WORD { word & ((1 << (8 * count)) - 1) } else { word }
}

/// The high bit of every octet of `word` that is `octet`; above the lowest one found there may be more.
#[inline]
pub(crate) const fn equal(word: u64, octet: u8) -> u64 {
    let zeros = word ^ (ONES * octet_wide(octet));
    zeros.wrapping_sub(ONES) & !zeros & HIGH
}

/// The high bit of every octet of `word` that is below `octet`, likewise.
#[inline]
pub(crate) const fn below(word: u64, octet: u8) -> u64 {
    word.wrapping_sub(ONES * octet_wide(octet)) & !word & HIGH
}

/// The lowest octet of those found.
#[inline]
pub(crate) const fn place(found: u64) -> usize {
    crate::document::wide(found.trailing_zeros() / 8)
}

/// Whether `len` octets from `one` on are those from `other` on. Up to two words no branch depends on how many there are.
#[inline]
pub(crate) fn are_equal(octets: &[u8], one: usize, other: usize, len: usize) -> bool {
    match (two_words_at(octets, one), two_words_at(octets, other), MASKS.get(len)) {
        (Some(left), Some(right), Some(mask)) => {
            (left[0] ^ right[0]) & mask[0] | (left[1] ^ right[1]) & mask[1] == 0
        }
        _ => are_equal_slices(octets, one, other, len),
    }
}

#[inline(never)]
fn are_equal_slices(octets: &[u8], one: usize, other: usize, len: usize) -> bool {
    let stretch = |start: usize| octets.get(start..start.checked_add(len)?);
    stretch(one).is_some_and(|left| stretch(other) == Some(left))
}

#[inline]
fn two_words_at(octets: &[u8], start: usize) -> Option<[u64; 2]> {
    let both = octets.get(start..start.checked_add(2 * WORD)?)?;
    let (&first, rest) = both.split_first_chunk()?;
    Some([u64::from_le_bytes(first), u64::from_le_bytes(*rest.first_chunk()?)])
}

/// All bits of the first octets of two words, by how many they are.
static MASKS: [[u64; 2]; 2 * WORD + 1] = masks();

const fn masks() -> [[u64; 2]; 2 * WORD + 1] {
    let mut masks = [[0; 2]; 2 * WORD + 1];
    let mut len = 0;
    while len < masks.len() {
        #[expect(clippy::indexing_slicing, reason = "below the length")]
        let mask = &mut masks[len];
        *mask = [first_of(u64::MAX, len), first_of(u64::MAX, len.saturating_sub(WORD))];
        len += 1;
    }
    masks
}

#[inline]
const fn octet_wide(octet: u8) -> u64 {
    #[expect(clippy::as_conversions, reason = "a const fn cannot call From")]
    {
        octet as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_equal_up_to_their_length_and_the_end() {
        for len in 0..40 {
            let stretch: Vec<u8> = (1..=40).take(len).collect();
            let octets = [stretch.as_slice(), b"-", &stretch, b""].concat();
            assert!(are_equal(&octets, 0, len + 1, len), "{len}");
            for wrong in 0..len {
                let mut octets = octets.clone();
                octets[wrong] = 0;
                assert!(!are_equal(&octets, 0, len + 1, len), "{wrong} of {len}");
            }
        }
    }

    #[test]
    fn the_first_octets_of_a_word_are_its_lowest() {
        let word = u64::from_le_bytes(*b"abcdefgh");
        assert_eq!(first_of(word, 0), 0);
        assert_eq!(first_of(word, 3), u64::from_le_bytes(*b"abc\0\0\0\0\0"));
        assert_eq!((first_of(word, 8), first_of(word, 9)), (word, word));
        assert_eq!(place(below(word, b'b') | equal(word, b'h')), 0);
    }
}
