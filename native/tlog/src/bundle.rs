//! Entry bundles: up to 256 entries, each behind its length in two octets, big-endian.

use crate::error::Error;

const PREFIX: usize = 2;

/// Appends one entry to a bundle.
///
/// # Errors
///
/// [`Error::EntryTooLarge`]; the bundle is unchanged.
pub fn write_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), Error> {
    let length =
        u16::try_from(entry.len()).map_err(|_| Error::EntryTooLarge { octets: entry.len() })?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Cuts a bundle into its entries.
///
/// # Errors
///
/// [`Error::BundleTorn`]
pub fn read_bundle(octets: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let mut entries = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let torn = Error::BundleTorn { entry: entries.len() };
        let Some((prefix, behind)) = rest.split_first_chunk::<PREFIX>() else { return Err(torn) };
        let length = usize::from(u16::from_be_bytes(*prefix));
        let Some((entry, following)) = behind.split_at_checked(length) else { return Err(torn) };
        entries.push(entry);
        rest = following;
    }
    Ok(entries)
}
