//! The image path: the part of the URL between `/v2/` and `/manifests/`, which names the tools of an image.

use std::fmt;
use std::str::FromStr;

use crate::names::{Name, NameError};

/// Longest image path, in bytes. Many clients cap a whole reference there.
pub const MAX_LENGTH: usize = 255;
/// Most names in one image path.
pub const MAX_NAMES: usize = 64;

/// One or more names joined by `/`, as they came: order and repetition still stand, nothing is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImagePath(Vec<Name>);

/// Why a text is not an [`ImagePath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Longer than [`MAX_LENGTH`].
    #[error("the image path has {length} characters; {MAX_LENGTH} are allowed: use a named set")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// More names than [`MAX_NAMES`].
    #[error("the image path has {count} names; {MAX_NAMES} are allowed: use a named set")]
    TooMany {
        /// How many names it has.
        count: usize,
    },
    /// A component outside the grammar.
    #[error("component {position} of the image path: {source}")]
    Component {
        /// Which one, counted from 1.
        position: usize,
        /// What is wrong with it.
        source: NameError,
    },
}

impl ImagePath {
    /// A path of the given names, in the given order.
    ///
    /// # Errors
    /// [`PathError`] when there are none, too many, or they are too long together.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, PathError> {
        names.into_iter().collect::<Vec<_>>().join("/").parse()
    }

    /// The names, in the order in which they came.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.0
    }
}

impl FromStr for ImagePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_LENGTH {
            return Err(PathError::TooLong { length: text.len() });
        }
        let count = text.split('/').count();
        if count > MAX_NAMES {
            return Err(PathError::TooMany { count });
        }
        let component =
            |(index, part)| Name::parse(part).map_err(|source| PathError::Component { position: index + 1, source });
        text.split('/').enumerate().map(component).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "/" };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_are_exact() {
        let names = |count: usize| vec!["a"; count].join("/");
        assert!(names(64).parse::<ImagePath>().is_ok());
        assert_eq!(names(65).parse::<ImagePath>(), Err(PathError::TooMany { count: 65 }));
        assert!("a".repeat(255).parse::<ImagePath>().is_ok());
        assert_eq!("a".repeat(256).parse::<ImagePath>(), Err(PathError::TooLong { length: 256 }));
    }

    #[test]
    fn the_bad_component_is_named() {
        let texts = ["strace/../x", "strace//dig", "", "/strace", "a/b%2fc"];
        let errors: Vec<String> = texts.iter().map(|text| text.parse::<ImagePath>().unwrap_err().to_string()).collect();
        insta::assert_snapshot!(errors.join("\n"), @r"
        component 2 of the image path: `..` is not a name: it must begin and end with a letter or a digit
        component 2 of the image path: `` is not a name: it is empty
        component 1 of the image path: `` is not a name: it is empty
        component 1 of the image path: `` is not a name: it is empty
        component 2 of the image path: `b%2fc` is not a name: percent-encoding has no place in a name
        ");
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(text in "[a-z0-9]{1,5}([-._/][a-z0-9]{1,5}){0,40}") {
            if let Ok(path) = text.parse::<ImagePath>() {
                prop_assert_eq!(path.to_string(), text);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,300}") {
            let _ = text.parse::<ImagePath>();
        }
    }
}
