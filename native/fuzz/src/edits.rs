//! Changes that keep markup whole. libFuzzer's own change octets and soon break a document; these move its elements and
//! attributes about, as someone would who wraps a signature.

use libfuzzer_sys::fuzzer_mutate;
use memchr::{memchr, memchr_iter};

/// Change the first `size` octets of `buffer` in place, half of the time by libFuzzer's own means; the new size, at most
/// `most`.
pub fn change(buffer: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut dice = Dice(u64::from(seed) << 1 | 1);
    let edited = if dice.roll(2) == 0 { None } else { edit(&buffer[..size], &mut dice) };
    match edited {
        Some(edited) if edited.len() <= most => {
            buffer[..edited.len()].copy_from_slice(&edited);
            edited.len()
        }
        _ => fuzzer_mutate(buffer, size, most),
    }
}

/// Where an element stands: `<` to `>` of its start tag, then up to the `<` and the `>` of its end tag.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    inside: usize,
    inside_end: usize,
    end: usize,
}

/// A sequence of numbers that a seed determines.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.roll(from.len())]) }
    }
}

/// One edit; None where the octets hold nothing to edit.
fn edit(octets: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let elements = elements(octets);
    let (one, other) = (dice.pick(&elements)?, dice.pick(&elements)?);
    let gaps: Vec<usize> = memchr_iter(b'>', octets).map(|at| at + 1).collect();
    let gap = dice.pick(&gaps)?;
    Some(match dice.roll(5) {
        0 => replaced(octets, gap, gap, &[&octets[one.start..one.end]]),
        1 => replaced(octets, one.start, one.end, &[]),
        2 => replaced(octets, one.start, one.end, &[&octets[other.start..other.end]]),
        3 => {
            let open = &octets[other.start..other.inside];
            let close = &octets[other.inside_end..other.end];
            replaced(octets, one.start, one.end, &[open, &octets[one.start..one.end], close])
        }
        _ => {
            let attribute = dice.pick(&attributes(octets, other))?;
            let name_end =
                octets[one.start..].iter().position(|octet| b" \t\r\n/>".contains(octet))?;
            let at = one.start + name_end;
            replaced(octets, at, at, &[&octets[attribute.0..attribute.1]])
        }
    })
}

/// Elements as far as tags can be paired without reading names.
fn elements(octets: &[u8]) -> Vec<Place> {
    let (mut open, mut found) = (Vec::new(), Vec::new());
    for at in memchr_iter(b'<', octets) {
        let Some(length) = memchr(b'>', &octets[at..]) else { break };
        let behind = at + length + 1;
        match octets[at + 1] {
            b'!' | b'?' => {}
            b'/' => {
                if let Some((start, inside)) = open.pop() {
                    found.push(Place { start, inside, inside_end: at, end: behind });
                }
            }
            _ if octets[behind - 2] == b'/' => {
                found.push(Place { start: at, inside: behind, inside_end: behind, end: behind });
            }
            _ => open.push((at, behind)),
        }
    }
    found
}

/// The attributes of an element, each with the white space before it.
fn attributes(octets: &[u8], element: Place) -> Vec<(usize, usize)> {
    let tag = &octets[element.start..element.inside];
    let spaces = memchr_iter(b' ', tag).map(|at| element.start + at);
    spaces.filter_map(|start| Some((start, end_of_value(octets, start, element.inside)?))).collect()
}

/// Behind the quote that closes the first quoted value of a stretch.
fn end_of_value(octets: &[u8], start: usize, end: usize) -> Option<usize> {
    let opening = start + octets[start..end].iter().position(|octet| b"'\"".contains(octet))?;
    let length = memchr(octets[opening], &octets[opening + 1..end])?;
    Some(opening + 1 + length + 1)
}

/// The octets with those from `start` to `end` replaced.
fn replaced(octets: &[u8], start: usize, end: usize, by: &[&[u8]]) -> Vec<u8> {
    [&octets[..start], &by.concat(), &octets[end..]].concat()
}
