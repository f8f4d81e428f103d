//! `#[derive(Event)]`: gives a type its stable wire name.
//!
//! This crate knows the attribute's syntax and nothing of what an event means.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{quote, quote_spanned};
use syn::{DeriveInput, Error, LitInt, LitStr, Result, parse_macro_input, parse_quote};

/// Implements `Event` for a type that serde can encode.
///
/// The attribute `#[event(name = "algorithm.event")]` is mandatory: a name taken from the Rust
/// type would change when the type is renamed. `local` marks an event that never comes from the
/// wire, `unreliable` one that may be lost and overtaken. `bytes_max = 1_000_000` allows frames of
/// this event that are larger than others.
///
/// ```text
/// #[derive(Event, Debug, Serialize, Deserialize)]
/// #[event(name = "gossip.rumour", unreliable)]
/// struct Rumour(String);
/// ```
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input, &quote!(::synod_core)).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// The same for crates that depend on the facade `synod` alone, which exports it as `Event`.
#[proc_macro_derive(FacadeEvent, attributes(event))]
pub fn derive_facade_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input, &quote!(::synod)).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// What stands in `#[event(..)]`.
#[derive(Default)]
struct Attribute {
    name: Option<LitStr>,
    local: bool,
    unreliable: bool,
    bytes_max: Option<LitInt>,
}

fn expand(input: &DeriveInput, home: &Tokens) -> Result<Tokens> {
    let attribute = parse(input)?;
    let Some(name) = &attribute.name else {
        let ask = "an event needs a stable wire name: #[event(name = \"algorithm.event\")]";
        return Err(Error::new_spanned(&input.ident, ask));
    };
    check(name)?;
    if attribute.local && attribute.unreliable {
        let clash = "a local event never travels, so it cannot be `unreliable`";
        return Err(Error::new_spanned(&input.ident, clash));
    }
    let (bytes_max, check) = match &attribute.bytes_max {
        Some(bytes) => declare(bytes, &attribute, home)?,
        None => Default::default(),
    };
    let (local, unreliable, ident) = (attribute.local, attribute.unreliable, &input.ident);
    let mut generics = input.generics.clone();
    if !generics.params.is_empty() {
        // Whatever the parameters are, the type has to be an event's: serde says for which.
        generics.make_where_clause().predicates.push(parse_quote! {
            Self: ::core::fmt::Debug
                + ::serde::Serialize
                + ::serde::de::DeserializeOwned
                + ::core::marker::Send
                + 'static
        });
    }
    let (generics, arguments, clause) = generics.split_for_impl();
    Ok(quote! {
        impl #generics #home::Event for #ident #arguments #clause {
            const NAME: &'static str = #name;
            const LOCAL: bool = #local;
            const UNRELIABLE: bool = #unreliable;
            #bytes_max
        }
        #check
    })
}

/// The largest frame, and its check: what the number may be, the home crate says. A constant of a
/// trait is looked at only where it is used, so the check has its own.
fn declare(bytes: &LitInt, attribute: &Attribute, home: &Tokens) -> Result<(Tokens, Tokens)> {
    let why = match attribute {
        Attribute { local: true, .. } => "a local event never travels, so it needs no `bytes_max`",
        Attribute { unreliable: true, .. } => {
            "an `unreliable` event fits into a datagram, so it needs no `bytes_max`"
        }
        _ => {
            bytes.base10_parse::<u32>()?;
            let check = quote_spanned! {bytes.span()=>
                const _: () = #home::Envelope::check_bytes_max(#bytes);
            };
            return Ok((quote!(const BYTES_MAX: u32 = #bytes;), check));
        }
    };
    Err(Error::new_spanned(bytes, why))
}

fn parse(input: &DeriveInput) -> Result<Attribute> {
    let mut found = Attribute::default();
    for attribute in input.attrs.iter().filter(|it| it.path().is_ident("event")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                found.name = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("local") {
                found.local = true;
            } else if meta.path.is_ident("unreliable") {
                found.unreliable = true;
            } else if meta.path.is_ident("bytes_max") {
                found.bytes_max = Some(meta.value()?.parse()?);
            } else {
                let known = "expected `name = \"..\"`, `local`, `unreliable` or `bytes_max = ..`";
                return Err(meta.error(known));
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// A name is one or more words of `a-z0-9_`, joined by dots, so that it stands in files, metrics
/// and command lines without quoting.
fn check(name: &LitStr) -> Result<()> {
    let text = name.value();
    let word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
    };
    if text.split('.').all(word) {
        return Ok(());
    }
    Err(Error::new_spanned(
        name,
        "a wire name is words of a-z, 0-9 and `_`, joined by dots: `bully.election`",
    ))
}
