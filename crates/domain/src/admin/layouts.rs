//! New layouts of halls, and the shows that take them over.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::catalog::Hall;
use crate::ids::{HallId, LayoutId, ShowId, TheatreId};
use crate::seating::{Layout, PlannedLayout};

/// A layout to add to a hall, as the newest version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewLayout {
    pub hall: Hall,
    pub plan: PlannedLayout,
}

/// A scheduled show of the hall that has not started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpcomingShow {
    pub id: ShowId,
    /// Whether it has or had a booking, or has a live claim: a held or a blocked seat.
    pub has_sales: bool,
    /// The categories that have a price for adults.
    pub adult_categories: BTreeSet<String>,
}

/// The upcoming shows of a hall after a layout was added, each in ascending order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LayoutUse {
    /// The shows that have the new layout.
    pub updated: Vec<ShowId>,
    /// The shows that keep their layouts.
    pub kept: Vec<ShowId>,
    /// The shows of `kept` that lack only prices: some category of the new layout has none for adults.
    pub without_prices: Vec<ShowId>,
}

impl NewLayout {
    /// Decides which upcoming shows get the new layout: those without sales that have prices for all of its categories. Seats that are
    /// sold, held or blocked stay where they are.
    pub fn shared_by(&self, shows: impl IntoIterator<Item = UpcomingShow>) -> LayoutUse {
        let categories: BTreeSet<&str> = self.plan.seats.iter().map(|seat| seat.category.as_str()).collect();
        let mut result = LayoutUse::default();
        for UpcomingShow { id, has_sales, adult_categories } in shows {
            let has_prices = categories.iter().all(|category| adult_categories.contains(*category));
            if has_prices && !has_sales {
                result.updated.push(id);
            } else {
                result.kept.push(id);
            }
            if !has_prices && !has_sales {
                result.without_prices.push(id);
            }
        }
        for ids in [&mut result.updated, &mut result.kept, &mut result.without_prices] {
            ids.sort_unstable();
        }
        result
    }
}

/// A version of a hall's seats, without the seats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayoutVersion {
    pub id: LayoutId,
    pub hall_id: HallId,
    /// The theatre of the hall.
    pub theatre_id: TheatreId,
    /// Counts up from 1 in each hall.
    pub version: i64,
    pub seats_total: i64,
    pub created_at: DateTime<Utc>,
    /// The number of scheduled shows with this layout that have not ended.
    pub used_by_shows: i64,
}

/// The position of a layout in the list of a hall's layouts, which is ordered by version, newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayoutCursor {
    pub version: i64,
}

/// A layout that was added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddedLayout {
    pub version: LayoutVersion,
    pub layout: Layout,
    pub shows: LayoutUse,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seating::LayoutPlan;

    fn new_layout(plan: &str) -> NewLayout {
        let hall = Hall {
            id: HallId(1),
            theatre_id: TheatreId(1),
            name: "Saal 1".to_owned(),
            seats_total: 0,
            retired_at: None,
            version: 1,
        };
        NewLayout { hall, plan: LayoutPlan::Text(plan.to_owned()).seats().unwrap() }
    }

    fn show(id: i64, has_sales: bool, categories: &[&str]) -> UpcomingShow {
        let adult_categories = categories.iter().map(|name| (*name).to_owned()).collect();
        UpcomingShow { id: ShowId(id), has_sales, adult_categories }
    }

    #[test]
    fn shows_without_sales_and_with_all_prices_get_the_layout() {
        let layout = new_layout("category s = standard\ncategory p = premium\nA | sssp");
        let shows = [
            show(5, false, &["standard", "premium"]),
            show(4, true, &["standard", "premium"]),
            show(3, false, &["standard"]),
            show(2, true, &[]),
            show(1, false, &["standard", "premium", "box"]),
        ];
        let ids = |ids: &[i64]| ids.iter().copied().map(ShowId).collect::<Vec<_>>();
        let expected = LayoutUse { updated: ids(&[1, 5]), kept: ids(&[2, 3, 4]), without_prices: ids(&[3]) };
        assert_eq!(layout.shared_by(shows), expected);
    }
}
