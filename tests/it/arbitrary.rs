//! Values of any type that can be read back, made up: each variant and each field of it comes up,
//! also of types that are still to come.

use std::collections::BTreeMap;

use serde::de::value::{Error, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// What is read from.
pub(crate) struct Arbitrary {
    state: u64,
    /// How often each variant came up, by the enum and the variant.
    pub(crate) variants: BTreeMap<(&'static str, &'static str), u32>,
}

impl Arbitrary {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, variants: BTreeMap::new() }
    }

    pub(crate) fn value<T: DeserializeOwned>(&mut self) -> T {
        T::deserialize(self).unwrap()
    }

    /// Each variant of each enum has come up.
    #[track_caller]
    pub(crate) fn check_variants(&self) {
        let missing = self.variants.iter().filter(|(_, count)| **count == 0);
        let missing: Vec<_> = missing.map(|(variant, _)| variant).collect();
        assert!(!self.variants.is_empty() && missing.is_empty(), "{missing:?}");
    }

    /// A number below `n`, by the generator `SplitMix64`.
    fn below(&mut self, n: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    /// A small number, or one of up to so many bits; never 0, which is no id.
    fn number(&mut self, bits: u32) -> u64 {
        let bits = if self.below(2) == 0 { 3 } else { bits };
        1 + self.below((1 << bits) - 1)
    }

    fn text(&mut self) -> String {
        const SIGNS: [char; 10] = ['a', 'Z', '0', ' ', '"', '\\', '\n', '\u{1b}', 'ß', '🦀'];
        let length = self.below(6);
        (0..length).map(|_| SIGNS[usize::try_from(self.below(10)).unwrap()]).collect()
    }
}

macro_rules! numbers {
    ($($name:ident $visit:ident $type:ty, $bits:literal;)+) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(<$type>::try_from(self.number($bits)).unwrap())
        }
    )+};
}

impl<'de> Deserializer<'de> for &mut Arbitrary {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a type that does not say what it wants"))
    }

    // Ids have 48 bits.
    numbers! {
        deserialize_u8 visit_u8 u8, 7;
        deserialize_u16 visit_u16 u16, 15;
        deserialize_u32 visit_u32 u32, 32;
        deserialize_u64 visit_u64 u64, 48;
        deserialize_i32 visit_i32 i32, 31;
        deserialize_i64 visit_i64 i64, 48;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.below(2) == 0)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_char(if self.below(2) == 0 { 'S' } else { '"' })
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.text())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.below(3) == 0 {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.below(3);
        visitor.visit_seq(Items { from: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Items { from: self, left: length as u64 })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields { from: self, name, fields: fields.iter(), field: "" })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let length = variants.len() as u64;
        for variant in variants {
            self.variants.entry((name, variant)).or_default();
        }
        let variant = variants[usize::try_from(self.below(length)).unwrap()];
        *self.variants.entry((name, variant)).or_default() += 1;
        visitor.visit_enum(Variant(self, variant))
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u128 f32 f64 bytes byte_buf unit unit_struct tuple_struct map identifier
        ignored_any
    }
}

struct Items<'a> {
    from: &'a mut Arbitrary,
    left: u64,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.from).map(Some)
    }
}

struct Fields<'a> {
    from: &'a mut Arbitrary,
    name: &'static str,
    fields: std::slice::Iter<'static, &'static str>,
    field: &'static str,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(field) = self.fields.next() else { return Ok(None) };
        self.field = field;
        let name: StrDeserializer<'_, Error> = field.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match (self.name, self.field) {
            // What the derive does not know.
            ("RejectionCount", "why") => {
                let label: StrDeserializer<'_, Error> = "queue_full".into_deserializer();
                seed.deserialize(label)
            }
            ("Duration", "nanos") => {
                let nanos = u32::try_from(self.from.below(1_000_000_000)).unwrap();
                seed.deserialize(nanos.into_deserializer())
            }
            _ => seed.deserialize(&mut *self.from),
        }
    }
}

struct Variant<'a>(&'a mut Arbitrary, &'static str);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = self.1.into_deserializer();
        seed.deserialize(name).map(|value| (value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_struct(self.1, fields, visitor)
    }
}
