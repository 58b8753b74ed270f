//! Pages of lists: a limited number of items after a position in a fixed order.

/// The maximum number of items in a page: 1 to 100.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageLimit(u8);

impl PageLimit {
    pub const MAX: u8 = 100;
    /// The largest limit.
    pub const LARGEST: Self = Self(Self::MAX);
    /// The limit for a request without one.
    pub const DEFAULT: Self = Self(50);

    /// Parses a limit. Returns `None` unless it is 1 to [`PageLimit::MAX`].
    pub fn parse(items: i64) -> Option<Self> {
        let items = u8::try_from(items).ok()?;
        (1..=Self::MAX).contains(&items).then_some(Self(items))
    }

    /// Returns the number of items.
    pub fn items(self) -> usize {
        usize::from(self.0)
    }
}

/// A request for the `limit` items that follow `after` in the order of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageRequest<Place> {
    /// The maximum number of items.
    pub limit: PageLimit,
    /// The position of the last item of the previous page; `None` for the first page.
    pub after: Option<Place>,
}

impl<Place> PageRequest<Place> {
    /// Returns the number of rows to read from the store: one more than the page has, to detect whether another page follows.
    pub fn rows(&self) -> i64 {
        i64::from(self.limit.0) + 1
    }

    /// Cuts the rows of a store to the page, and computes the position at which the next page begins.
    pub fn cut<Item>(&self, mut rows: Vec<Item>, place: impl Fn(&Item) -> Place) -> Page<Item, Place> {
        let more = rows.len() > self.limit.items();
        rows.truncate(self.limit.items());
        let next = if more { rows.last().map(place) } else { None };
        Page { items: rows, next }
    }
}

/// A page in progress, read from a store with some invalid rows. Invalid rows are left out, and the page is filled with the rows that
/// follow. Otherwise the page would be short, and the list would seem to end with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filling<Place, Item> {
    next: Option<PageRequest<Place>>,
    items: Vec<Item>,
}

impl<Place: Clone, Item> Filling<Place, Item> {
    /// Begins to read a page.
    pub fn of(page: &PageRequest<Place>) -> Self {
        Self { next: Some(page.clone()), items: Vec::new() }
    }

    /// Returns the next rows to read; `None` if the page is full or the list has ended.
    pub fn next(&self) -> Option<PageRequest<Place>> {
        self.next.clone()
    }

    /// Adds the rows that were read. `parse` leaves a row out by returning `None`.
    pub fn add<Row>(&mut self, rows: Vec<Row>, place: impl Fn(&Row) -> Place, parse: impl FnMut(Row) -> Option<Item>) {
        let Some(page) = self.next.take() else { return };
        let wanted = usize::from(page.limit.0) + 1;
        let last = rows.last().filter(|_| rows.len() >= wanted).map(place);
        self.items.extend(rows.into_iter().filter_map(parse));
        let is_full = self.items.len() >= wanted;
        self.items.truncate(wanted);
        self.next = last.filter(|_| !is_full).map(|last| PageRequest { limit: page.limit, after: Some(last) });
    }

    /// Returns the items of the page, and one more if another page follows.
    pub fn into_items(self) -> Vec<Item> {
        self.items
    }
}

/// One page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<Item, Place> {
    /// In the order of the list.
    pub items: Vec<Item>,
    /// The position at which the next page begins; `None` on the last page.
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

    #[test]
    fn a_page_with_rows_left_out_is_filled_with_those_that_follow() {
        let table: Vec<u32> = (1..=20).collect();
        let read = |limit: i64, is_good: fn(&u32) -> bool| {
            let page = PageRequest { limit: PageLimit::parse(limit).unwrap(), after: None };
            let (mut filling, mut rounds) = (Filling::of(&page), 0);
            while let Some(page) = filling.next() {
                let rows = table.iter().copied().filter(|row| page.after.is_none_or(|after| *row > after));
                let rows = rows.take(usize::try_from(page.rows()).unwrap()).collect();
                filling.add(rows, |row| *row, |row| is_good(&row).then_some(row));
                rounds += 1;
            }
            (filling.into_items(), rounds)
        };
        assert_eq!(read(3, |_| true), (vec![1, 2, 3, 4], 1));
        assert_eq!(read(3, |row| row % 2 == 0), (vec![2, 4, 6, 8], 2));
        assert_eq!(read(3, |row| *row > 17), (vec![18, 19, 20], 6));
        assert_eq!(read(100, |row| *row != 7).0.len(), 19);
        assert_eq!(read(3, |_| false), (Vec::new(), 6));
    }
}
