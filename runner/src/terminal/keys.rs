//! From the events of a console's keys to the bytes that a terminal sends. Pure.
//!
//! The console spells sequences (arrow keys, Alt) by events of their own, one for each UTF-16 unit.

use std::char::{REPLACEMENT_CHARACTER, decode_utf16};

/// Windows' codes of keys.
const ALT: u16 = 0x12;
const SPACE: u16 = 0x20;
const TWO: u16 = 0x32;

/// An event (`KEY_EVENT_RECORD`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Whether it is pressed rather than released.
    pub(super) down: bool,
    /// Which key it is.
    pub(super) code: u16,
    /// The UTF-16 unit that it means, or 0.
    pub(super) unit: u16,
    /// How many times.
    pub(super) times: u16,
    /// Whether Ctrl is held, and no Alt.
    pub(super) control: bool,
}

/// What was typed, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The first half of a surrogate pair.
    first: Option<u16>,
}

impl Keys {
    /// Adds what this event says to `bytes`.
    pub(super) fn take(&mut self, key: Key, bytes: &mut Vec<u8>) {
        let means = match (key.down, key.unit) {
            // Ctrl-Space and Ctrl-@ (on a 2) mean the character 0; other keys that mean none are Shift and its like.
            (true, 0) => key.control && [SPACE, TWO].contains(&key.code),
            (true, _) => true,
            // Alt, released after digits: the character of that number.
            (false, unit) => unit != 0 && key.code == ALT,
        };
        if !means {
            return;
        }
        let first = self.first.take();
        let is_second = (0xdc00..0xe000).contains(&key.unit);
        if first.is_some() && !is_second {
            push(REPLACEMENT_CHARACTER, bytes);
        }
        if (0xd800..0xdc00).contains(&key.unit) {
            self.first = Some(key.unit);
            return;
        }
        let units = first.filter(|_| is_second).into_iter().chain([key.unit]);
        let character = decode_utf16(units).find_map(Result::ok).unwrap_or(REPLACEMENT_CHARACTER);
        for _ in 0..key.times.max(1) {
            push(character, bytes);
        }
    }
}

fn push(character: char, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LETTER: Key = Key { down: true, code: 0x41, unit: b'a' as u16, times: 1, control: false };

    fn typed(keys: &[Key]) -> Vec<u8> {
        let (mut state, mut bytes) = (Keys::default(), Vec::new());
        for key in keys {
            state.take(*key, &mut bytes);
        }
        bytes
    }

    /// Each unit as a key that is pressed and released.
    fn units(units: impl IntoIterator<Item = u16>) -> Vec<Key> {
        let both = |unit| [true, false].map(|down| Key { down, unit, ..LETTER });
        units.into_iter().flat_map(both).collect()
    }

    #[test]
    fn ctrl_z_and_all_other_control_characters_are_bytes() {
        let keys: Vec<_> = (1..0x20).map(|unit| Key { unit, control: true, ..LETTER }).collect();
        assert_eq!(typed(&keys), (1..0x20).collect::<Vec<u8>>());
    }

    #[test]
    fn a_key_that_means_no_character_says_nothing_but_where_it_means_zero() {
        let zero = |code, control| typed(&[Key { code, control, unit: 0, ..LETTER }]);
        for (code, control) in [(0x10, false), (0x11, true), (ALT, false), (0x14, false), (TWO, false), (0x33, true)] {
            assert_eq!(zero(code, control), b"", "{code:#x}");
        }
        assert_eq!(zero(SPACE, true), b"\0");
        assert_eq!(zero(TWO, true), b"\0");
    }

    #[test]
    fn a_held_key_comes_as_often_as_it_says() {
        assert_eq!(typed(&[Key { times: 3, ..LETTER }, Key { times: 0, ..LETTER }]), b"aaaa");
        let euro = Key { times: 2, unit: 0x20ac, ..LETTER };
        assert_eq!(typed(&[euro]), "€€".as_bytes());
        let halves = [0xd83d, 0xdd27].map(|unit| Key { unit, ..LETTER });
        assert_eq!(typed(&[halves[0], Key { times: 2, ..halves[1] }]), "🔧🔧".as_bytes());
    }

    #[test]
    fn alt_and_digits_are_a_character_when_alt_is_released() {
        let digit = Key { code: 0x61, unit: 0, ..LETTER };
        let alt = |down, unit| Key { down, unit, code: ALT, ..LETTER };
        assert_eq!(typed(&[alt(true, 0), digit, Key { down: false, ..digit }, alt(false, 0xe9)]), "é".as_bytes());
        assert_eq!(typed(&[alt(true, 0), alt(false, 0)]), b"");
    }

    #[test]
    fn half_a_character_is_said_to_be_unknown() {
        let lonely = [0xd83d, 0x61, 0xdd27, 0xd83d, 0xd83d, 0xdd27];
        assert_eq!(typed(&units(lonely)), "\u{fffd}a\u{fffd}\u{fffd}🔧".as_bytes());
    }

    proptest! {
        #[test]
        fn every_text_arrives_as_it_is(text in "[^\0]*") {
            prop_assert_eq!(typed(&units(text.encode_utf16())), text.as_bytes());
        }
    }
}
