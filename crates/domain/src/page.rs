//! Lists come in pages: at most so many items, after a place in a fixed order.

/// How many items a page holds at most: 1 to 100.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageLimit(u8);

impl PageLimit {
    /// The largest page.
    pub const MAX: u8 = 100;
    /// The page of a caller who does not say.
    pub const DEFAULT: Self = Self(50);

    /// Parses a limit; `None` unless it is 1 to [`PageLimit::MAX`].
    pub fn parse(items: i64) -> Option<Self> {
        let items = u8::try_from(items).ok()?;
        (1..=Self::MAX).contains(&items).then_some(Self(items))
    }

    /// The number of items.
    pub fn items(self) -> usize {
        usize::from(self.0)
    }
}

/// A part of a list: the `limit` items that follow `after` in the list's order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageRequest<Place> {
    /// How many items at most.
    pub limit: PageLimit,
    /// The place of the last item of the page before; `None` for the first page.
    pub after: Option<Place>,
}

impl<Place> PageRequest<Place> {
    /// How many rows a store is asked for: one more than the page has, to know whether another follows.
    pub fn rows(&self) -> i64 {
        i64::from(self.limit.0) + 1
    }

    /// Cuts the rows of a store to the page, and tells where the next one begins.
    pub fn cut<Item>(&self, mut rows: Vec<Item>, place: impl Fn(&Item) -> Place) -> Page<Item, Place> {
        let more = rows.len() > self.limit.items();
        rows.truncate(self.limit.items());
        let next = if more { rows.last().map(place) } else { None };
        Page { items: rows, next }
    }
}

/// One page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<Item, Place> {
    /// The items, in the list's order.
    pub items: Vec<Item>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Place>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_1_to_100() {
        assert_eq!(PageLimit::parse(0), None);
        assert_eq!(PageLimit::parse(-1), None);
        assert_eq!(PageLimit::parse(101), None);
        assert_eq!(PageLimit::parse(100).map(PageLimit::items), Some(100));
    }

    #[test]
    fn the_next_page_begins_after_the_last_item_and_only_if_there_is_one() {
        let request = PageRequest { limit: PageLimit::parse(2).unwrap(), after: None };
        assert_eq!(request.cut(vec![1, 2, 3], |i| *i), Page { items: vec![1, 2], next: Some(2) });
        assert_eq!(request.cut(vec![1, 2], |i| *i), Page { items: vec![1, 2], next: None });
    }
}
