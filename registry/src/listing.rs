//! Pages of sorted lists: tags and repositories (distribution specification 1.1, "Listing tags").

use crate::route::Page;

/// The part of `sorted` that `page` is about, and the page after it if there is more.
pub(crate) fn page_of<'a, S: AsRef<str>>(sorted: &'a [S], page: &Page) -> (&'a [S], Option<Page>) {
    let start = page.after.as_deref().map_or(0, |after| sorted.partition_point(|entry| entry.as_ref() <= after));
    let rest = &sorted[start..];
    let entries = &rest[..page.limit.unwrap_or(usize::MAX).min(rest.len())];
    let next = match entries.last() {
        Some(last) if entries.len() < rest.len() => {
            Some(Page { limit: page.limit, after: Some(last.as_ref().to_owned()) })
        }
        // An empty page has no end to go on from.
        _ => None,
    };
    (entries, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(limit: Option<usize>, after: Option<&str>) -> Page {
        Page { limit, after: after.map(Into::into) }
    }

    #[test]
    fn a_page_ends_where_the_next_begins() {
        let sorted = ["a", "c", "e"];
        for (asked, entries, next) in [
            (page(None, None), &sorted[..], None),
            (page(Some(3), None), &sorted[..], None),
            (page(Some(9), None), &sorted[..], None),
            (page(Some(2), None), &sorted[..2], Some(page(Some(2), Some("c")))),
            (page(Some(2), Some("c")), &sorted[2..], None),
            (page(None, Some("b")), &sorted[1..], None),
            (page(None, Some("e")), &sorted[3..], None),
            (page(Some(0), None), &sorted[..0], None),
            (page(Some(1), Some("zz")), &sorted[3..], None),
        ] {
            assert_eq!(page_of(&sorted, &asked), (entries, next), "{asked:?}");
        }
    }

    proptest! {
        #[test]
        fn pages_together_are_the_list(list in proptest::collection::btree_set("[a-c]{0,3}", 0..20), limit in 1_usize..6) {
            let sorted: Vec<&str> = list.iter().map(String::as_str).collect();
            let (mut all, mut next) = (Vec::new(), Some(page(Some(limit), None)));
            while let Some(page) = next {
                let (entries, following) = page_of(&sorted, &page);
                all.extend_from_slice(entries);
                next = following;
            }
            prop_assert_eq!(all, sorted);
        }
    }
}
