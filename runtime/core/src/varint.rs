//! Whole numbers as bytes: seven bits in each, the lowest first, and the top bit set in all but the
//! last one.
//!
//! Most events are a few numbers, so this is most of what writing and reading them costs. The sevens of
//! a word are moved to their bytes together, by halves, instead of one after the other.

/// Bytes of a number at most.
pub(crate) const BYTES_MAX: usize = 10;

/// The top bit of each byte of a word: another byte follows.
const MORE: u64 = 0x8080_8080_8080_8080;

/// The bytes of `number`, and how many of them count.
#[inline]
pub(crate) fn written(number: u64) -> ([u8; BYTES_MAX], usize) {
    let low = spread(number);
    let high = number >> 56;
    let (word, last, count) = match high {
        0 => {
            let count = (70 - (number | 1).leading_zeros()) / 7;
            let more = MORE.checked_shr(72 - 8 * count).unwrap_or(0);
            (low | more, 0, count)
        }
        1..0x80 => (low | MORE, high, 9),
        _ => (low | MORE, (high & 0x7f) | 0x180, 10),
    };
    let mut bytes = [0; BYTES_MAX];
    let (first, rest) = bytes.split_at_mut(8);
    first.copy_from_slice(&word.to_le_bytes());
    rest.copy_from_slice(&last.to_le_bytes()[..2]);
    (bytes, count as usize)
}

/// Numbers below this take three bytes at most, as most do.
pub(crate) const SHORT: u64 = 1 << 21;

/// The same for a number below [`SHORT`] that takes two bytes at least.
#[inline]
pub(crate) fn written_short(number: u64) -> ([u8; 3], usize) {
    let is_longest = 0x4000 <= number;
    let (low, middle, high) = (number | 0x80, number >> 7, number >> 14);
    let middle = (middle & 0x7f) | (u64::from(is_longest) << 7);
    let byte = |number: u64| number.to_le_bytes()[0];
    ([byte(low), byte(middle), byte(high)], 2 + usize::from(is_longest))
}

/// Why no number is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Misread {
    /// The bytes end before it does.
    Cut,
    /// Its last byte adds nothing.
    Padded,
    /// It has more than 64 bits.
    TooLarge,
}

/// Takes a number off the front of `bytes`, which stay as they are if there is none.
///
/// # Errors
///
/// [`Misread`], also if the number is not written in its shortest form.
#[inline]
pub(crate) fn read(bytes: &mut &[u8]) -> Result<u64, Misread> {
    match **bytes {
        [byte @ ..0x80, ref rest @ ..] => {
            *bytes = rest;
            Ok(u64::from(byte))
        }
        [low, high @ 1..0x80, ref rest @ ..] => {
            *bytes = rest;
            Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
        }
        [low, middle @ 0x80..=0xff, high @ 1..0x80, ref rest @ ..] => {
            *bytes = rest;
            Ok(u64::from(low & 0x7f) | u64::from(middle & 0x7f) << 7 | u64::from(high) << 14)
        }
        _ => read_longer(bytes),
    }
}

/// The same for a number of two bytes or more. Never inlined: then what reads the usual one is so small
/// that it is.
#[inline(never)]
fn read_longer(bytes: &mut &[u8]) -> Result<u64, Misread> {
    let Some((first, rest)) = bytes.split_first_chunk() else { return read_bytewise(bytes) };
    let word = u64::from_le_bytes(*first);
    let ends = !word & MORE;
    if ends == 0 {
        let number = gather(word) | (read_last(rest)? << 56);
        let count = 9 + usize::from(number >> 63 == 1);
        *bytes = bytes.get(count..).unwrap_or_default();
        return Ok(number);
    }
    let last = ends.trailing_zeros() / 8;
    let number = gather(word & (u64::MAX >> (56 - 8 * last)));
    if number >> (7 * last) == 0 {
        return Err(Misread::Padded);
    }
    *bytes = bytes.get(last as usize + 1..).unwrap_or_default();
    Ok(number)
}

/// The eight bits that follow the first 56.
#[inline]
fn read_last(rest: &[u8]) -> Result<u64, Misread> {
    match *rest {
        [0, ..] | [0x80..=0xff, 0, ..] => Err(Misread::Padded),
        [byte @ ..0x80, ..] | [byte, 1, ..] => Ok(u64::from(byte)),
        [_, _, ..] => Err(Misread::TooLarge),
        [] | [_] => Err(Misread::Cut),
    }
}

/// A number of two bytes or more where fewer bytes than a word are left.
fn read_bytewise(bytes: &mut &[u8]) -> Result<u64, Misread> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        match byte {
            0 => return Err(Misread::Padded),
            1..0x80 => {
                *bytes = bytes.get(index + 1..).unwrap_or_default();
                return Ok(number);
            }
            0x80.. => (),
        }
    }
    Err(Misread::Cut)
}

/// Moves each seven of the lowest 56 bits to a byte of its own.
#[inline]
const fn spread(bits: u64) -> u64 {
    let word = (bits & 0x0fff_ffff) | ((bits << 4) & 0x0fff_ffff_0000_0000);
    let word = (word & 0x3fff_0000_3fff) | ((word << 2) & 0x3fff_0000_3fff_0000);
    (word & 0x7f_007f_007f_007f) | ((word << 1) & 0x7f00_7f00_7f00_7f00)
}

/// Moves them back. The top bits of the bytes do not count.
#[inline]
const fn gather(word: u64) -> u64 {
    let word = (word & 0x7f_007f_007f_007f) | ((word >> 1) & 0x3f80_3f80_3f80_3f80);
    let word = (word & 0x3fff_0000_3fff) | ((word >> 2) & 0x0fff_c000_0fff_c000);
    (word & 0x0fff_ffff) | ((word >> 4) & 0x00ff_ffff_f000_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One seven after the other.
    fn bytewise(number: u64) -> Vec<u8> {
        let mut rest = number;
        let mut bytes = Vec::new();
        while 0x80 <= rest {
            bytes.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        bytes.push(rest.to_le_bytes()[0]);
        bytes
    }

    /// Numbers around each power of two.
    fn edges() -> impl Iterator<Item = u64> {
        let powers = (0..64).map(|bit| 1_u64 << bit);
        powers.flat_map(|power| [power - 1, power, power | 1, power | (power >> 3), !power])
    }

    #[test]
    fn a_number_is_written_in_sevens_and_read_back_whatever_follows() {
        for number in edges() {
            let (bytes, count) = written(number);
            assert_eq!(bytes[..count], bytewise(number), "{number:#x}");
            if (0x80..SHORT).contains(&number) {
                let (bytes, count) = written_short(number);
                assert_eq!(bytes[..count], bytewise(number), "{number:#x}");
            }
            for behind in [0, 1, 8] {
                let mut all = bytes[..count].to_vec();
                all.resize(count + behind, 0x80);
                let mut rest = &*all;
                assert_eq!(read(&mut rest), Ok(number), "{number:#x}");
                assert_eq!(rest.len(), behind);
            }
        }
    }

    #[test]
    fn a_number_that_is_cut_is_none() {
        for number in edges() {
            let (bytes, count) = written(number);
            for length in 0..count {
                let mut rest = &bytes[..length];
                assert_eq!(read(&mut rest), Err(Misread::Cut), "{number:#x}, {length} bytes");
                assert_eq!(rest.len(), length);
            }
        }
    }

    #[test]
    fn a_number_is_read_in_its_shortest_form_only() {
        for number in edges() {
            let (mut bytes, count) = written(number);
            if count == BYTES_MAX {
                continue;
            }
            bytes[count - 1] |= 0x80;
            bytes[count] = 0;
            for behind in [0, 8] {
                let mut all = bytes[..=count].to_vec();
                all.resize(count + 1 + behind, 0xff);
                assert_eq!(read(&mut &*all), Err(Misread::Padded), "{number:#x}");
            }
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_too_large() {
        for last in [2, 3, 0x7f, 0x80, 0xff] {
            let mut bytes = [0x80; 12];
            bytes[9] = last;
            assert_eq!(read(&mut &bytes[..]), Err(Misread::TooLarge), "{last:#x}");
        }
    }
}
