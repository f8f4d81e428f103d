//! The fields of certificates and of lists of revoked ones, read off strictly encoded bytes.
//!
//! Whoever shows a certificate chooses these bytes. What is read here decides nothing by itself:
//! webpki checks signatures, dates and uses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::asn1::{
    AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, OctetStringRef, UintRef, UtcTime,
};
use der::{Decode, ErrorKind, Reader, Result, SliceReader, Tag, TagNumber, Tagged};

/// What a certificate says.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    pub(super) serial: &'a [u8],
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// The common name of the subject, if there is nothing else in it.
    pub(super) common_name: Option<&'a str>,
    /// The public key with its algorithm, as it stands there.
    pub(super) public_key: &'a [u8],
    pub(super) names: Vec<Name<'a>>,
    pub(super) is_authority: bool,
    /// The identifier of its authority's key.
    pub(super) authority_key: Option<&'a [u8]>,
}

/// One alternative name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Name<'a> {
    Dns(&'a str),
    /// Of another kind: its number in the standard, and its bytes.
    Other(u32, &'a [u8]),
}

/// What a list of revoked certificates says, but for its entries.
#[derive(Debug)]
pub(super) struct List<'a> {
    /// What is signed.
    pub(super) signed: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) issued: SystemTime,
    pub(super) ends: SystemTime,
    pub(super) number: u64,
    /// Whether it speaks of some certificates of its authority only.
    pub(super) is_partial: bool,
}

/// Reads a certificate. Nothing may be left over.
pub(super) fn certificate(bytes: &[u8]) -> Result<Certificate<'_>> {
    let mut reader = SliceReader::new(bytes)?;
    let read = sequence(&mut reader, |reader| {
        let read = sequence(reader, certificate_body)?;
        signature(reader)?;
        Ok(read)
    })?;
    reader.finish()?;
    Ok(read)
}

/// Reads a list of revoked certificates. Nothing may be left over.
pub(super) fn list(bytes: &[u8]) -> Result<List<'_>> {
    let mut reader = SliceReader::new(bytes)?;
    let read = sequence(&mut reader, |reader| {
        let signed = reader.tlv_bytes()?;
        let signature = signature(reader)?;
        let mut body = SliceReader::new(signed)?;
        let (issued, ends, number, is_partial) = sequence(&mut body, list_body)?;
        Ok(List { signed, signature, issued, ends, number, is_partial })
    })?;
    reader.finish()?;
    Ok(read)
}

/// The algorithm, which is passed over, and the signature.
fn signature<'a>(reader: &mut SliceReader<'a>) -> Result<&'a [u8]> {
    AnyRef::decode(reader)?;
    let bits = BitStringRef::decode(reader)?;
    bits.as_bytes().ok_or_else(|| reader.error(ErrorKind::Value { tag: Tag::BitString }))
}

/// RFC 5280, section 4.1.
fn certificate_body<'a>(reader: &mut SliceReader<'a>) -> Result<Certificate<'a>> {
    let first = AnyRef::decode(reader)?;
    let serial = if first.tag() == explicit(0) { AnyRef::decode(reader)? } else { first };
    serial.tag().assert_eq(Tag::Integer)?;
    let _algorithm = AnyRef::decode(reader)?;
    let _issuer = AnyRef::decode(reader)?;
    let (not_before, not_after) = sequence(reader, |reader| Ok((time(reader)?, time(reader)?)))?;
    let common_name = sole_common_name(AnyRef::decode(reader)?)?;
    let public_key = reader.tlv_bytes()?;
    let mut read = Certificate {
        serial: serial.value(),
        not_before,
        not_after,
        common_name,
        public_key,
        names: Vec::new(),
        is_authority: false,
        authority_key: None,
    };
    extensions(reader, explicit(3), |kind, value| match kind {
        ALTERNATIVE_NAMES => read_names(value, &mut read.names),
        BASIC_CONSTRAINTS => {
            read.is_authority = is_authority(value)?;
            Ok(())
        }
        AUTHORITY_KEY => {
            read.authority_key = key_identifier(value)?;
            Ok(())
        }
        _ => Ok(()),
    })?;
    Ok(read)
}

/// RFC 5280, section 5.1: when issued, when the next one is due, number, and whether it is partial.
fn list_body(reader: &mut SliceReader<'_>) -> Result<(SystemTime, SystemTime, u64, bool)> {
    let first = AnyRef::decode(reader)?;
    let _algorithm = if first.tag() == Tag::Integer { AnyRef::decode(reader)? } else { first };
    let _issuer = AnyRef::decode(reader)?;
    let (issued, ends) = (time(reader)?, time(reader)?);
    let (mut number, mut is_partial) = (None, false);
    extensions(reader, explicit(0), |kind, value| {
        match kind {
            LIST_NUMBER => number = Some(count(UintRef::from_der(value)?)?),
            DELTA_LIST | DISTRIBUTION_POINT => is_partial = true,
            _ => (),
        }
        Ok(())
    })?;
    let number = number.ok_or_else(|| reader.error(ErrorKind::Failed))?;
    Ok((issued, ends, number, is_partial))
}

/// Passes over what stands before the extensions, and shows each of them. They stand behind `tag`.
fn extensions<'a>(
    reader: &mut SliceReader<'a>,
    tag: Tag,
    mut each: impl FnMut(ObjectIdentifier, &'a [u8]) -> Result<()>,
) -> Result<()> {
    while !reader.is_finished() {
        let field = AnyRef::decode(reader)?;
        if field.tag() != tag {
            continue;
        }
        let mut inside = SliceReader::new(field.value())?;
        sequence(&mut inside, |list| {
            while !list.is_finished() {
                let (kind, value) = sequence(list, |extension| {
                    let kind = ObjectIdentifier::decode(extension)?;
                    let _is_critical = Option::<bool>::decode(extension)?;
                    Ok((kind, <&OctetStringRef>::decode(extension)?.as_bytes()))
                })?;
                each(kind, value)?;
            }
            Ok(())
        })?;
        inside.finish()?;
    }
    Ok(())
}

fn read_names<'a>(value: &'a [u8], names: &mut Vec<Name<'a>>) -> Result<()> {
    AnyRef::from_der(value)?.sequence(|list| {
        while !list.is_finished() {
            let name = AnyRef::decode(list)?;
            let Tag::ContextSpecific { number, .. } = name.tag() else {
                return Err(list.error(ErrorKind::Failed));
            };
            let dns = std::str::from_utf8(name.value()).ok().filter(|text| text.is_ascii());
            names.push(match (number.value(), dns) {
                (2, Some(dns)) => Name::Dns(dns),
                (number, _) => Name::Other(number, name.value()),
            });
        }
        Ok(())
    })
}

fn is_authority(value: &[u8]) -> Result<bool> {
    AnyRef::from_der(value)?.sequence(|fields| {
        let is_authority = Option::<bool>::decode(fields)?.unwrap_or(false);
        pass_over(fields)?;
        Ok(is_authority)
    })
}

fn key_identifier(value: &[u8]) -> Result<Option<&[u8]>> {
    AnyRef::from_der(value)?.sequence(|fields| {
        let mut identifier = None;
        while !fields.is_finished() {
            let field = AnyRef::decode(fields)?;
            if field.tag() == TagNumber(0).context_specific(false) {
                identifier = Some(field.value());
            }
        }
        Ok(identifier)
    })
}

fn sole_common_name(subject: AnyRef<'_>) -> Result<Option<&str>> {
    subject.sequence(|names| {
        if names.is_finished() {
            return Ok(None);
        }
        let first = AnyRef::decode(names)?;
        let is_sole = names.is_finished();
        pass_over(names)?;
        let mut attributes = SliceReader::new(first.value())?;
        let (kind, value) = sequence(&mut attributes, |attribute| {
            Ok((ObjectIdentifier::decode(attribute)?, AnyRef::decode(attribute)?))
        })?;
        let is_sole = is_sole && attributes.is_finished() && kind == COMMON_NAME;
        let text = (is_sole && value.tag() == Tag::Utf8String).then(|| value.value());
        Ok(text.and_then(|text| std::str::from_utf8(text).ok()))
    })
}

/// Reads a sequence with `read`, which must leave nothing over.
pub(super) fn sequence<'a, T>(
    reader: &mut SliceReader<'a>,
    read: impl FnOnce(&mut SliceReader<'a>) -> Result<T>,
) -> Result<T> {
    reader.sequence(read)
}

fn pass_over(reader: &mut SliceReader<'_>) -> Result<()> {
    while !reader.is_finished() {
        AnyRef::decode(reader)?;
    }
    Ok(())
}

fn time(reader: &mut SliceReader<'_>) -> Result<SystemTime> {
    let since: Duration = match Tag::peek(reader)? {
        Tag::UtcTime => UtcTime::decode(reader)?.to_unix_duration(),
        _ => GeneralizedTime::decode(reader)?.to_unix_duration(),
    };
    Ok(UNIX_EPOCH + since)
}

fn count(number: UintRef<'_>) -> Result<u64> {
    let bytes = number.as_bytes();
    let too_large = || der::Error::from(ErrorKind::Value { tag: Tag::Integer });
    let room = size_of::<u64>().checked_sub(bytes.len()).ok_or_else(too_large)?;
    Ok(u64::from_be_bytes(std::array::from_fn(|place| {
        place.checked_sub(room).and_then(|at| bytes.get(at)).copied().unwrap_or(0)
    })))
}

const fn explicit(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ALTERNATIVE_NAMES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const LIST_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const DELTA_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const AUTHORITY_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use synod_core::NodeId;

    use super::*;
    use crate::identity::Authority;
    use crate::identity::facts::parse_pem;

    fn some_certificate() -> Vec<u8> {
        let authority = Authority::new("demo", Duration::from_secs(86_400)).unwrap();
        let issued = authority.issue(NodeId(7), Duration::from_secs(60)).unwrap();
        parse_pem(&issued.certificate_pem).unwrap().to_vec()
    }

    #[test]
    fn a_certificate_is_read_and_nothing_may_follow_it() {
        let mut bytes = some_certificate();
        let read = certificate(&bytes).unwrap();
        assert_eq!(read.names, [Name::Dns("n7.demo.synod.internal")]);
        assert_eq!(read.common_name, Some("n7.demo.synod.internal"));
        assert!(!read.is_authority);
        bytes.push(0);
        assert!(certificate(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn no_damage_makes_the_reader_panic(
            places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = some_certificate();
            for (place, byte) in places {
                let at = place.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = certificate(&bytes);
            let _ = list(&bytes);
        }
    }
}
