//! What other implementations of RFC 6962 publish, and the definitions of the RFC written down again, word for word.

use crate::{
    Edge, Error, Hash, Nodes, Resource, TileNodes, consistency_proof, inclusion_proof, leaf_hash,
    merkle_root, node_hash, tree_root, verify_consistency, verify_inclusion,
};

/// The eight leaves of the tests of certificate-transparency, which Trillian and transparency-dev/merkle carry on.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOT_8: &str = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
const INCLUSION: [(u64, u64, &[&str]); 4] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
];
const CONSISTENCY: [(u64, u64, &[&str]); 3] = [
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

/// Leaf hashes, as nodes: what RFC 9162 2.1.1 defines, with nothing remembered.
struct Defined<'a>(&'a [Hash]);

impl Nodes for Defined<'_> {
    type Error = Error;

    fn node(&mut self, height: u32, index: u64) -> Result<Hash, Error> {
        let start = usize::try_from(index << height).unwrap();
        self.0.get(start..start + (1 << height)).map(defined_root).ok_or(Error::OutOfTree)
    }
}

/// MTH of RFC 9162 2.1.1.
fn defined_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => crate::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&defined_root(left), &defined_root(right))
        }
    }
}

/// PATH of RFC 6962 2.1.1.
fn defined_path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if m < left.len() {
        (defined_path(m, left), right)
    } else {
        (defined_path(m - left.len(), right), left)
    };
    path.push(defined_root(sibling));
    path
}

/// SUBPROOF of RFC 6962 2.1.2.
fn defined_subproof(m: usize, leaves: &[Hash], is_known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if is_known { Vec::new() } else { vec![defined_root(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, sibling) = if m <= left.len() {
        (defined_subproof(m, left, is_known), right)
    } else {
        (defined_subproof(m - left.len(), right, false), left)
    };
    proof.push(defined_root(sibling));
    proof
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn hashes(texts: &[&str]) -> Vec<Hash> {
    texts.iter().map(|text| hex(text).try_into().unwrap()).collect()
}

fn published() -> Vec<Hash> {
    LEAVES.iter().map(|leaf| leaf_hash(&hex(leaf))).collect()
}

fn numbered(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("entry {number}").into_bytes()).collect()
}

fn borrowed(entries: &[Vec<u8>]) -> Vec<&[u8]> {
    entries.iter().map(Vec::as_slice).collect()
}

#[test]
fn published_roots_and_proofs_come_out() {
    let leaves = published();
    assert_eq!(merkle_root(&leaves).to_vec(), hex(ROOT_8));
    assert_eq!(merkle_root(&[]), crate::EMPTY_ROOT);
    for (index, size, proof) in INCLUSION {
        let made = inclusion_proof(index, size, &mut Defined(&leaves)).unwrap();
        assert_eq!(made, hashes(proof), "{index} of {size}");
    }
    for (first, second, proof) in CONSISTENCY {
        let made = consistency_proof(first, second, &mut Defined(&leaves)).unwrap();
        assert_eq!(made, hashes(proof), "{first} to {second}");
    }
}

#[test]
fn every_proof_of_small_trees_is_the_defined_one_and_verifies() {
    let all = numbered(70).iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>();
    for size in 1..=70 {
        let leaves = &all[..size];
        let (root, length) = (defined_root(leaves), u64::try_from(size).unwrap());
        assert_eq!(tree_root(length, &mut Defined(leaves)).unwrap(), root);
        assert_eq!(merkle_root(leaves), root);
        for at in 0..size {
            let index = u64::try_from(at).unwrap();
            let proof = inclusion_proof(index, length, &mut Defined(leaves)).unwrap();
            assert_eq!(proof, defined_path(at, leaves));
            verify_inclusion(index, length, leaves[at], &proof, &root).unwrap();

            let first = index + 1;
            let before = defined_root(&leaves[..=at]);
            let proof = consistency_proof(first, length, &mut Defined(leaves)).unwrap();
            assert_eq!(proof, defined_subproof(at + 1, leaves, true));
            verify_consistency(first, &before, length, &root, &proof).unwrap();
        }
    }
}

#[test]
fn an_altered_proof_never_verifies() {
    let leaves = numbered(21).iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>();
    for size in 2..=21_u64 {
        let held = &leaves[..usize::try_from(size).unwrap()];
        let root = defined_root(held);
        for index in 0..size {
            let leaf = held[usize::try_from(index).unwrap()];
            let proof = inclusion_proof(index, size, &mut Defined(held)).unwrap();
            for altered in alterations(&proof) {
                assert!(verify_inclusion(index, size, leaf, &altered, &root).is_err());
            }
            assert!(verify_inclusion(index, size, root, &proof, &root).is_err());
            for other in (0..size).filter(|other| *other != index) {
                assert!(verify_inclusion(other, size, leaf, &proof, &root).is_err());
            }
        }
        for first in 1..size {
            let before = defined_root(&held[..usize::try_from(first).unwrap()]);
            let proof = consistency_proof(first, size, &mut Defined(held)).unwrap();
            for altered in alterations(&proof) {
                assert!(verify_consistency(first, &before, size, &root, &altered).is_err());
            }
            assert!(verify_consistency(first, &root, size, &root, &proof).is_err());
            assert!(verify_consistency(first, &before, size, &before, &proof).is_err());
        }
    }
}

/// Each hash flipped, left out or doubled, and one too many.
fn alterations(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut altered = vec![[proof, &[[7; 32]]].concat()];
    for at in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[at][31] ^= 1;
        altered.push(flipped);
        altered.push([&proof[..at], &proof[at + 1..]].concat());
        altered.push([&proof[..=at], &proof[at..]].concat());
    }
    altered
}

#[test]
fn numbers_outside_the_tree_are_refused() {
    let leaves = published();
    assert_eq!(inclusion_proof(8, 8, &mut Defined(&leaves)), Err(Error::OutOfTree));
    assert_eq!(consistency_proof(9, 8, &mut Defined(&leaves)), Err(Error::OutOfTree));
    assert!(inclusion_proof(0, 9, &mut Defined(&leaves)).is_err());
    assert_eq!(verify_inclusion(0, 0, [0; 32], &[], &[0; 32]), Err(Error::OutOfTree));
    assert_eq!(verify_consistency(2, &[0; 32], 1, &[0; 32], &[]), Err(Error::OutOfTree));
    assert!(verify_consistency(0, &crate::EMPTY_ROOT, 8, &[0; 32], &[]).is_ok());
    assert!(verify_consistency(0, &[0; 32], 8, &[0; 32], &[]).is_err());
    assert!(verify_consistency(8, &[0; 32], 8, &[0; 32], &[]).is_ok());
    assert!(verify_consistency(8, &[0; 32], 8, &[1; 32], &[]).is_err());
}

#[test]
fn paths_are_those_of_the_specification() {
    let tile =
        |level, index, width| Resource::tile(level, index, (index * 256 + width) << (8 * level));
    assert_eq!(tile(0, 1_234_067, 256).unwrap().to_string(), "tile/0/x001/x234/067");
    assert_eq!(tile(0, 1_234_067, 1).unwrap().to_string(), "tile/0/x001/x234/067.p/1");
    assert_eq!(tile(2, 0, 255).unwrap().to_string(), "tile/2/000.p/255");
    assert_eq!(tile(0, 1000, 256).unwrap().to_string(), "tile/0/x001/000");
    assert_eq!(Resource::bundle(999, 256_000).unwrap().to_string(), "tile/entries/999");
    assert_eq!(Resource::bundle(273, 70_000).unwrap().to_string(), "tile/entries/273.p/112");
    assert_eq!(Resource::bundle(274, 70_000), Err(Error::OutOfTree));
    assert_eq!(Resource::tile(1, 0, 255), Err(Error::OutOfTree));
}

/// Grows a log by the given steps and returns what it then holds, as path and octets, and its edge.
fn grown(
    entries: &[Vec<u8>],
    steps: impl IntoIterator<Item = usize>,
) -> (Edge, Vec<(String, Vec<u8>)>) {
    let (mut edge, mut files, mut rest) = (Edge::new(), Vec::new(), entries);
    for step in steps {
        let (taken, behind) = rest.split_at(step.min(rest.len()));
        let growth = edge.grow(&borrowed(taken)).unwrap();
        files.extend(growth.files().iter().map(|f| (f.resource.to_string(), f.octets.clone())));
        edge = growth.edge().clone();
        rest = behind;
    }
    assert!(rest.is_empty());
    (edge, files)
}

#[test]
fn a_log_of_70000_has_the_files_of_the_specification() {
    let entries = numbered(70_000);
    let (edge, files) = grown(&entries, [70_000]);
    let count = |prefix: &str, partial: bool| {
        files
            .iter()
            .filter(|(path, _)| path.starts_with(prefix) && path.contains(".p/") == partial)
            .count()
    };
    assert_eq!((count("tile/0/", false), count("tile/1/", false)), (273, 1));
    assert_eq!(count("tile/entries/", false), 273);
    let partial =
        files.iter().filter(|(path, _)| path.contains(".p/")).map(|(path, _)| path.as_str());
    assert_eq!(
        partial.collect::<Vec<_>>(),
        ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    );
    let leaves = entries.iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>();
    assert_eq!(edge.root(), merkle_root(&leaves));
    assert_eq!(merkle_root(&leaves), defined_root(&leaves));
}

#[test]
fn growth_by_any_steps_gives_the_same_files_and_proofs_from_anywhere_between() {
    let entries = numbered(1300);
    let (whole, all) = grown(&entries, [1300]);
    let (_, stepped) = grown(&entries, std::iter::repeat_n(37, 36));
    assert!(all.iter().all(|file| stepped.contains(file)));

    let held = |resource: Resource| {
        let path = resource.to_string();
        let found =
            stepped.iter().find(|(name, _)| *name == path).map(|(_, octets)| octets.clone());
        found.ok_or(Error::NodeUnknown)
    };
    let leaves = entries.iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>();
    assert_eq!(tree_root(1300, &mut TileNodes::new(1300, held)).unwrap(), whole.root());
    for index in (0..1300).step_by(7) {
        let proof = inclusion_proof(index, 1300, &mut TileNodes::new(1300, held)).unwrap();
        assert_eq!(proof, defined_path(usize::try_from(index).unwrap(), &leaves));
    }
    for (before, after) in [(1, 300), (255, 257), (256, 512), (511, 1300), (700, 701), (1023, 1024)]
    {
        let (edge, _) = grown(&entries[..before], [before]);
        let growth = edge.grow(&borrowed(&entries[before..after])).unwrap();
        assert_eq!(growth.leaves(), &leaves[before..after]);
        let root = growth.edge().root();
        assert_eq!(root, defined_root(&leaves[..after]));
        for first in before..=after {
            let (size, second) = (u64::try_from(first).unwrap(), u64::try_from(after).unwrap());
            let proof = consistency_proof(size, second, &mut &growth).unwrap();
            verify_consistency(size, &defined_root(&leaves[..first]), second, &root, &proof)
                .unwrap();
        }
    }
}

#[test]
fn growth_in_portions_is_growth_at_once() {
    let entries = numbered(66_100);
    for (before, cuts) in [
        (0, vec![0, 256, 300, 512]),
        (255, vec![255, 256, 257, 1024]),
        (700, vec![1024, 1024, 65_536, 66_100]),
        (65_300, vec![65_400, 65_700, 66_048, 66_049]),
    ] {
        let (edge, _) = grown(&entries[..before], [before]);
        let after = *cuts.last().unwrap();
        let whole = edge.grow(&borrowed(&entries[before..after])).unwrap();
        let mut growth = edge.grow(&[]).unwrap();
        let (mut full, mut at) = (Vec::new(), before);
        for cut in cuts {
            growth = growth.grow(&borrowed(&entries[at..cut])).unwrap();
            full.retain(|file: &crate::File| !file.resource.to_string().contains(".p/"));
            full.extend_from_slice(growth.files());
            at = cut;
        }
        let sorted = |files: &[crate::File]| {
            let mut files = files
                .iter()
                .map(|f| (f.resource.to_string(), f.octets.clone()))
                .collect::<Vec<_>>();
            files.sort();
            files
        };
        assert_eq!(sorted(&full), sorted(whole.files()), "{before} to {after}");
        assert_eq!(growth.leaves(), whole.leaves());
        assert_eq!(growth.edge().root(), whole.edge().root());
        for first in [before, usize::midpoint(before, after), after] {
            let (size, second) = (u64::try_from(first).unwrap(), u64::try_from(after).unwrap());
            assert_eq!(
                consistency_proof(size, second, &mut &growth),
                consistency_proof(size, second, &mut &whole)
            );
        }
    }
}

#[test]
fn an_edge_is_restored_from_its_partial_files_only() {
    let entries = numbered(66_000);
    for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 65_800] {
        let (edge, files) = grown(&entries[..size], [size]);
        let last = |prefix: &str| {
            let partial =
                files.iter().rfind(|(path, _)| path.starts_with(prefix) && path.contains(".p/"));
            partial.map_or(&[][..], |(_, octets)| octets)
        };
        let tiles = [last("tile/0/"), last("tile/1/"), last("tile/2/")];
        let restored = Edge::restore(edge.size(), &tiles, last("tile/entries/")).unwrap();
        assert_eq!(restored.root(), edge.root(), "{size}");
        let next = [b"next".as_slice()];
        assert_eq!(restored.grow(&next).unwrap().files(), edge.grow(&next).unwrap().files());
        if size % 256 != 0 {
            let torn = &last("tile/entries/")[1..];
            assert!(Edge::restore(edge.size(), &tiles, torn).is_err());
            assert!(Edge::restore(edge.size(), &tiles, b"").is_err());
            assert!(Edge::restore(edge.size(), &[], last("tile/entries/")).is_err());
            assert!(Edge::restore(edge.size() + 1, &tiles, last("tile/entries/")).is_err());
        }
    }
}

#[test]
fn bundles_are_cut_where_they_were_joined_and_nowhere_else() {
    let mut bundle = Vec::new();
    for entry in [b"one".as_slice(), b"", vec![b'x'; 65_535].as_slice()] {
        crate::write_entry(&mut bundle, entry).unwrap();
    }
    assert_eq!(
        crate::read_bundle(&bundle).unwrap(),
        [b"one".as_slice(), b"", vec![b'x'; 65_535].as_slice()]
    );
    assert_eq!(
        crate::read_bundle(&bundle[..bundle.len() - 1]),
        Err(Error::BundleTorn { entry: 2 })
    );
    assert_eq!(crate::read_bundle(&bundle[..6]), Err(Error::BundleTorn { entry: 1 }));
    let too_large = crate::write_entry(&mut bundle, &vec![0; 65_536]);
    assert_eq!(too_large, Err(Error::EntryTooLarge { octets: 65_536 }));
}
