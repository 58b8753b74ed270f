//! The service of the staff's work.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{
    AuditCursor, AuditEntry, AuditFilter, AuditStore, Authority, Change, ChangeAnswer, ChangeEncoder, ChangeError,
    ChangeRefusal, ChangeRequest, ChangeStore, CounterStore, Edit, LayoutCursor, LayoutVersion, LayoutVersionStore,
    ManagedShow, ManagedUser, NewLayout, NewPrices, NewShows, ObjectKind, Precondition, ShowChange, ShowEdit,
    ShowParts, ShowSurroundings, ShowsDraft, StaffBooking, StaffBookingFilter, StaffBookingQuery, StaffBookingStore,
    StaffMember, StaffShowFilter, StaffShowQuery, StaffShowStore, StaffStore, UserAccessChange, UserCursor, UserFilter,
};
use crate::booking::BookingCursor;
use crate::catalog::{
    CatalogStore, Hall, HallChange, HallCursor, HallDetails, HallFilter, Movie, MovieChange, MovieCursor, MovieDetails,
    MovieFilter, ShowCursor, ShowStatus, Theatre, TheatreChange, TheatreCursor, TheatreDetails, TheatreFilter,
    windows_of,
};
use crate::error::StoreError;
use crate::identity::{Bearer, SessionGuard};
use crate::ids::{BookingId, HallId, LayoutId, MovieId, PriceListId, ShowId, TheatreId, TicketTypeId, UserId};
use crate::money::Currency;
use crate::page::{Page, PageLimit, PageRequest};
use crate::pricing::{
    ManagedPriceList, ManagedTicketType, PriceListChange, PriceListCursor, PriceListDraft, PriceListFilter, PriceStore,
    PriceTerms, PricesAt, TicketTypeChange, TicketTypeCursor, TicketTypeDetails,
};
use crate::random::Reference;
use crate::seating::{Layout, LayoutStore, PlannedLayout};
use crate::text::fold;

/// How often a change is computed again after a concurrent change of the same object.
const TRIES: usize = 5;

/// What staff do: changes of the catalog and of accounts.
pub struct AdminService {
    pub staff: Arc<dyn StaffStore>,
    pub changes: Arc<dyn ChangeStore>,
    pub audit: Arc<dyn AuditStore>,
    pub bookings: Arc<dyn StaffBookingStore>,
    pub counter: Arc<dyn CounterStore>,
    pub catalog: Arc<dyn CatalogStore>,
    pub layout_versions: Arc<dyn LayoutVersionStore>,
    pub layouts: Arc<dyn LayoutStore>,
    pub prices: Arc<dyn PriceStore>,
    pub shows: Arc<dyn StaffShowStore>,
    pub guard: Arc<dyn SessionGuard>,
    pub encoder: Arc<dyn ChangeEncoder>,
}

impl AdminService {
    /// Returns the bearer's rights as stored now; `None` if the session has ended.
    pub async fn member(&self, bearer: &Bearer) -> Result<Option<StaffMember>, StoreError> {
        self.staff.member(bearer).await
    }

    /// Returns a page of the movies, retired ones included. `search` is a substring of title or description; case is ignored.
    pub async fn movies(
        &self,
        search: Option<&str>,
        page: &PageRequest<MovieCursor>,
    ) -> Result<Page<Movie, MovieCursor>, StoreError> {
        let filter = MovieFilter { search: search.map(fold), retired: true, ..MovieFilter::default() };
        let rows = self.catalog.movies(&filter, page).await?;
        Ok(page.cut(rows, |movie| MovieCursor { title: movie.title.clone(), id: movie.id }))
    }

    /// Returns one movie, retired or not.
    pub async fn movie(&self, id: MovieId) -> Result<Movie, ChangeError> {
        self.catalog.movie(id).await?.ok_or(ChangeError::NotFound(ObjectKind::Movie))
    }

    /// Creates a movie.
    pub async fn create_movie(
        &self,
        request: &ChangeRequest,
        details: MovieDetails,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || Ok(Change::Movie(Edit::Create(details.clone())))).await
    }

    /// Changes a movie.
    pub async fn update_movie(
        &self,
        request: &ChangeRequest,
        id: MovieId,
        change: MovieChange,
        precondition: &Precondition,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.movie(id).await?;
            precondition.check(before.version)?;
            Ok(Change::Movie(Edit::Update { after: change.clone().apply(&before), before }))
        })
        .await
    }

    /// Retires a movie: it leaves the public lists and gets no shows.
    pub async fn retire_movie(
        &self,
        request: &ChangeRequest,
        id: MovieId,
        precondition: &Precondition,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.movie(id).await?;
            precondition.check(before.version)?;
            Ok(Change::Movie(Edit::Retire(before)))
        })
        .await
    }

    /// Returns a page of the theatres that this member of staff works for, retired ones included.
    pub async fn theatres(
        &self,
        member: &StaffMember,
        search: Option<&str>,
        page: &PageRequest<TheatreCursor>,
    ) -> Result<Page<Theatre, TheatreCursor>, StoreError> {
        let filter = TheatreFilter { search: search.map(fold), among: member.limited_to(), retired: true };
        let rows = self.catalog.theatres(&filter, page).await?;
        Ok(page.cut(rows, |theatre| TheatreCursor { name: theatre.name.clone(), id: theatre.id }))
    }

    /// Returns one theatre, retired or not.
    pub async fn theatre(&self, member: &StaffMember, id: TheatreId) -> Result<Theatre, ChangeError> {
        let theatre = self.any_theatre(id).await?;
        check(member, theatre.id)?;
        Ok(theatre)
    }

    async fn any_theatre(&self, id: TheatreId) -> Result<Theatre, ChangeError> {
        self.catalog.theatre(id).await?.ok_or(ChangeError::NotFound(ObjectKind::Theatre))
    }

    /// Creates a theatre.
    pub async fn create_theatre(
        &self,
        request: &ChangeRequest,
        details: TheatreDetails,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || Ok(Change::Theatre(Edit::Create(details.clone())))).await
    }

    /// Changes a theatre.
    pub async fn update_theatre(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        id: TheatreId,
        change: TheatreChange,
        precondition: &Precondition,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.theatre(member, id).await?;
            precondition.check(before.version)?;
            Ok(Change::Theatre(Edit::Update { after: change.clone().apply(&before), before }))
        })
        .await
    }

    /// Retires a theatre: it leaves the public lists and gets no shows.
    pub async fn retire_theatre(
        &self,
        request: &ChangeRequest,
        id: TheatreId,
        precondition: &Precondition,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.any_theatre(id).await?;
            precondition.check(before.version)?;
            Ok(Change::Theatre(Edit::Retire(before)))
        })
        .await
    }

    /// Returns a page of the halls of the theatres that this member of staff works for, retired ones included. With `theatre`, only those
    /// of this theatre.
    pub async fn halls(
        &self,
        member: &StaffMember,
        theatre: Option<TheatreId>,
        search: Option<&str>,
        page: &PageRequest<HallCursor>,
    ) -> Result<Page<Hall, HallCursor>, ChangeError> {
        if let Some(id) = theatre {
            self.theatre(member, id).await?;
        }
        let theatres = theatre.map(|id| vec![id]).or_else(|| member.limited_to());
        let rows = self.catalog.halls(&HallFilter { theatres, search: search.map(fold) }, page).await?;
        Ok(page.cut(rows, |hall| HallCursor { name: hall.name.clone(), id: hall.id }))
    }

    /// Returns one hall, retired or not.
    pub async fn hall(&self, member: &StaffMember, id: HallId) -> Result<Hall, ChangeError> {
        let hall = self.catalog.hall(id).await?.ok_or(ChangeError::NotFound(ObjectKind::Hall))?;
        check(member, hall.theatre_id)?;
        Ok(hall)
    }

    /// Creates a hall, without seats.
    pub async fn create_hall(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        details: HallDetails,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            self.theatre(member, details.theatre_id).await?;
            Ok(Change::Hall(Edit::Create(details.clone())))
        })
        .await
    }

    /// Changes a hall.
    pub async fn update_hall(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        id: HallId,
        change: HallChange,
        precondition: &Precondition,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.hall(member, id).await?;
            precondition.check(before.version)?;
            Ok(Change::Hall(Edit::Update { after: change.clone().apply(&before), before }))
        })
        .await
    }

    /// Retires a hall: it leaves the public lists and gets no shows.
    pub async fn retire_hall(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        id: HallId,
        precondition: &Precondition,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.hall(member, id).await?;
            precondition.check(before.version)?;
            Ok(Change::Hall(Edit::Retire(before)))
        })
        .await
    }

    /// Returns a page of the layouts of a hall, newest first.
    pub async fn layouts(
        &self,
        member: &StaffMember,
        hall: HallId,
        page: &PageRequest<LayoutCursor>,
    ) -> Result<Page<LayoutVersion, LayoutCursor>, ChangeError> {
        let hall = self.hall(member, hall).await?;
        let rows = self.layout_versions.layout_versions(hall.id, page).await?;
        Ok(page.cut(rows, |layout| LayoutCursor { version: layout.version }))
    }

    /// Returns one layout with its seats.
    pub async fn layout(
        &self,
        member: &StaffMember,
        id: LayoutId,
    ) -> Result<(LayoutVersion, Arc<Layout>), ChangeError> {
        const UNKNOWN: ChangeError = ChangeError::NotFound(ObjectKind::Layout);
        let version = self.layout_versions.layout_version(id).await?.ok_or(UNKNOWN)?;
        check(member, version.theatre_id)?;
        let layout = self.layouts.layout(id).await?.ok_or(UNKNOWN)?;
        Ok((version, layout))
    }

    /// Returns the hall if it can get a layout.
    pub async fn hall_for_layout(&self, member: &StaffMember, id: HallId) -> Result<Hall, ChangeError> {
        let hall = self.hall(member, id).await?;
        if hall.retired_at.is_some() { Err(ChangeRefusal::HallRetired.into()) } else { Ok(hall) }
    }

    /// Adds a layout to a hall as its newest version. Upcoming shows without sales get it at once.
    pub async fn create_layout(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        hall: HallId,
        plan: PlannedLayout,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            Ok(Change::Layout(NewLayout { hall: self.hall_for_layout(member, hall).await?, plan: plan.clone() }))
        })
        .await
    }

    /// Returns a page of the ticket types, retired ones included. `search` is a substring of the code or a name; case is ignored.
    pub async fn ticket_types(
        &self,
        search: Option<&str>,
        page: &PageRequest<TicketTypeCursor>,
    ) -> Result<Page<ManagedTicketType, TicketTypeCursor>, StoreError> {
        let rows = self.prices.ticket_types(search.map(fold), page).await?;
        Ok(page.cut(rows, |found| TicketTypeCursor { position: found.position, code: found.code.clone() }))
    }

    /// Returns one ticket type, retired or not.
    pub async fn ticket_type(&self, id: TicketTypeId) -> Result<ManagedTicketType, ChangeError> {
        self.prices.ticket_type(id).await?.ok_or(ChangeError::NotFound(ObjectKind::TicketType))
    }

    /// Creates a ticket type.
    pub async fn create_ticket_type(
        &self,
        request: &ChangeRequest,
        details: TicketTypeDetails,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || Ok(Change::TicketType(Edit::Create(details.clone())))).await
    }

    /// Changes a ticket type.
    pub async fn update_ticket_type(
        &self,
        request: &ChangeRequest,
        id: TicketTypeId,
        change: TicketTypeChange,
        precondition: &Precondition,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.ticket_type(id).await?;
            precondition.check(before.version)?;
            Ok(Change::TicketType(Edit::Update { after: change.clone().apply(&before), before }))
        })
        .await
    }

    /// Retires a ticket type: it is sold at no new show. The default ticket type is not retired.
    pub async fn retire_ticket_type(
        &self,
        request: &ChangeRequest,
        id: TicketTypeId,
        precondition: &Precondition,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.ticket_type(id).await?;
            precondition.check(before.version)?;
            if before.code.is_adult() {
                return Err(ChangeRefusal::DefaultTicketType.into());
            }
            Ok(Change::TicketType(Edit::Retire(before)))
        })
        .await
    }

    /// Returns a page of the price lists of the theatres that this member of staff works for, retired ones included. With `theatre`, only
    /// those of this theatre.
    pub async fn price_lists(
        &self,
        member: &StaffMember,
        theatre: Option<TheatreId>,
        search: Option<&str>,
        page: &PageRequest<PriceListCursor>,
    ) -> Result<Page<ManagedPriceList, PriceListCursor>, ChangeError> {
        if let Some(id) = theatre {
            self.theatre(member, id).await?;
        }
        let theatres = theatre.map(|id| vec![id]).or_else(|| member.limited_to());
        let rows = self.prices.price_lists(&PriceListFilter { theatres, search: search.map(fold) }, page).await?;
        Ok(page.cut(rows, |list| PriceListCursor { name: list.name.clone(), id: list.id }))
    }

    /// Returns one price list, retired or not.
    pub async fn price_list(&self, member: &StaffMember, id: PriceListId) -> Result<ManagedPriceList, ChangeError> {
        let list = self.prices.price_list(id).await?.ok_or(ChangeError::NotFound(ObjectKind::PriceList))?;
        check(member, list.list.theatre_id())?;
        Ok(list)
    }

    /// Returns the prices of a list at a time that is local to its theatre; by default, at the time `now`.
    pub async fn prices_at(
        &self,
        member: &StaffMember,
        id: PriceListId,
        at: Option<NaiveDateTime>,
        now: DateTime<Utc>,
    ) -> Result<PricesAt, ChangeError> {
        let list = self.price_list(member, id).await?.list;
        let at = match at {
            Some(at) => at,
            None => now.with_timezone(&self.any_theatre(list.theatre_id()).await?.timezone).naive_local(),
        };
        let name = |index: usize| list.rules().get(index).and_then(|rule| rule.name.clone());
        let rule = list.rule_index_at(at).map(|index| (index, name(index)));
        Ok(PricesAt { at, currency: list.currency(), rule, prices: list.prices_at(at) })
    }

    /// Creates a price list in the currency of its theatre.
    pub async fn create_price_list(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        draft: PriceListDraft,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let theatre = self.theatre(member, draft.theatre_id).await?;
            let terms = self.price_terms(theatre.currency).await?;
            let details = draft.clone().check(&terms).map_err(ChangeError::InvalidPrices)?;
            Ok(Change::PriceList(Edit::Create(details)))
        })
        .await
    }

    /// Changes a price list. Its theatre never changes.
    pub async fn update_price_list(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        id: PriceListId,
        change: PriceListChange,
        precondition: &Precondition,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.price_list(member, id).await?;
            precondition.check(before.version)?;
            let terms = self.price_terms(before.list.currency()).await?;
            let after = change.clone().apply(&before, &terms).map_err(ChangeError::InvalidPrices)?;
            Ok(Change::PriceList(Edit::Update { before, after }))
        })
        .await
    }

    /// Retires a price list: no new show uses it.
    pub async fn retire_price_list(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        id: PriceListId,
        precondition: &Precondition,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.price_list(member, id).await?;
            precondition.check(before.version)?;
            Ok(Change::PriceList(Edit::Retire(before)))
        })
        .await
    }

    /// Returns what price lists in this currency are checked against.
    async fn price_terms(&self, currency: Currency) -> Result<PriceTerms, StoreError> {
        let mut ticket_types = BTreeMap::new();
        let mut page = PageRequest { limit: PageLimit::LARGEST, after: None };
        loop {
            let rows = self.prices.ticket_types(None, &page).await?;
            let found = page.cut(rows, |found| TicketTypeCursor { position: found.position, code: found.code.clone() });
            ticket_types.extend(found.items.into_iter().map(|found| (found.code, found.retired_at.is_some())));
            match found.next {
                Some(next) => page.after = Some(next),
                None => return Ok(PriceTerms { currency, ticket_types }),
            }
        }
    }

    /// Returns a page of the shows of the theatres that this member of staff works for.
    pub async fn shows(
        &self,
        member: &StaffMember,
        query: StaffShowQuery,
        page: &PageRequest<ShowCursor>,
    ) -> Result<Page<ManagedShow, ShowCursor>, ChangeError> {
        if let Some(id) = query.theatre_id {
            self.theatre(member, id).await?;
        }
        let during = match query.date {
            Some(date) => Some(windows_of(self.catalog.as_ref(), date, query.theatre_id).await?),
            None => None,
        };
        let filter = StaffShowFilter {
            theatres: query.theatre_id.map(|id| vec![id]).or_else(|| member.limited_to()),
            movie_id: query.movie_id,
            hall_id: query.hall_id,
            status: query.status,
            search: query.search.as_deref().map(fold),
            upcoming: !query.include_past && during.is_none(),
            during,
        };
        let rows = self.shows.staff_shows(&filter, page).await?;
        Ok(page.cut(rows, |found| ShowCursor { start_time: found.show.start_time, id: found.show.id }))
    }

    /// Returns one show, cancelled or not.
    pub async fn show(&self, member: &StaffMember, id: ShowId) -> Result<ManagedShow, ChangeError> {
        let found = self.shows.staff_show(id).await?.ok_or(ChangeError::NotFound(ObjectKind::Show))?;
        check(member, found.show.theatre_id)?;
        Ok(found)
    }

    /// Adds one show.
    pub async fn create_show(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        draft: ShowsDraft,
        now: DateTime<Utc>,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || Ok(Change::Show(ShowEdit::Create(self.new_shows(member, &draft, now).await?))))
            .await
    }

    /// Adds the shows of a programme, all or none.
    pub async fn create_programme(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        draft: ShowsDraft,
        now: DateTime<Utc>,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || Ok(Change::Programme(self.new_shows(member, &draft, now).await?))).await
    }

    async fn new_shows(
        &self,
        member: &StaffMember,
        draft: &ShowsDraft,
        now: DateTime<Utc>,
    ) -> Result<NewShows, ChangeError> {
        let movie = self.movie(draft.movie_id).await?;
        let hall = self.hall_for_layout(member, draft.hall_id).await?;
        let price_list = self.price_list(member, draft.price_list_id).await?;
        if movie.retired_at.is_some() {
            return Err(ChangeRefusal::MovieRetired.into());
        }
        if price_list.retired_at.is_some() {
            return Err(ChangeRefusal::PriceListRetired.into());
        }
        let theatre = self.any_theatre(hall.theatre_id).await?;
        if theatre.retired_at.is_some() {
            return Err(ChangeRefusal::TheatreNotFound.into());
        }
        let newest = PageRequest { limit: PageLimit::DEFAULT, after: None };
        let layouts = self.layout_versions.layout_versions(hall.id, &newest).await?;
        let newest = layouts.first().ok_or(ChangeRefusal::HallWithoutSeats)?;
        let layout = self.any_layout(newest.id).await?;
        let terms = self.price_terms(theatre.currency).await?;
        let parts = ShowParts { movie, theatre, hall, layout: &layout, price_list, terms };
        draft.plan(parts, now).map_err(ChangeError::InvalidShows)
    }

    async fn any_layout(&self, id: LayoutId) -> Result<Arc<Layout>, ChangeError> {
        self.layouts.layout(id).await?.ok_or(ChangeError::NotFound(ObjectKind::Layout))
    }

    /// Changes a show that has not begun. A show with bookings moves only with [`ShowChange::notify`].
    pub async fn update_show(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        id: ShowId,
        change: ShowChange,
        precondition: &Precondition,
        now: DateTime<Utc>,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.show(member, id).await?;
            precondition.check(before.version)?;
            if before.show.status == ShowStatus::Cancelled {
                return Err(ChangeRefusal::ShowCancelled.into());
            }
            if before.show.start_time <= now {
                return Err(ChangeRefusal::ShowStarted.into());
            }
            let price_list = match change.prices {
                Some(NewPrices::Of(list)) => Some(self.price_list(member, list).await?),
                Some(NewPrices::These(_)) | None => None,
            };
            if price_list.as_ref().is_some_and(|list| list.retired_at.is_some()) {
                return Err(ChangeRefusal::PriceListRetired.into());
            }
            let theatre = self.any_theatre(before.show.theatre_id).await?;
            let layout = self.any_layout(before.layout_id).await?;
            let terms = self.price_terms(before.currency()).await?;
            let around = ShowSurroundings { theatre, layout: &layout, terms, price_list };
            let after = change.clone().apply(&before, &around, now)?;
            Ok(Change::Show(ShowEdit::Update { before, after }))
        })
        .await
    }

    /// Cancels a show: nothing is booked from then on. `CancelledShows` cancels its bookings.
    pub async fn cancel_show(
        &self,
        request: &ChangeRequest,
        member: &StaffMember,
        id: ShowId,
        reason: &str,
    ) -> Result<ChangeAnswer, ChangeError> {
        self.make(request, async || {
            let before = self.show(member, id).await?;
            Ok(Change::Show(ShowEdit::Cancel { before, reason: reason.to_owned() }))
        })
        .await
    }

    /// Returns a page of the users.
    pub async fn users(
        &self,
        filter: &UserFilter,
        page: &PageRequest<UserCursor>,
    ) -> Result<Page<ManagedUser, UserCursor>, StoreError> {
        let rows = self.staff.users(filter, page).await?;
        Ok(page.cut(rows, |user| UserCursor(user.id)))
    }

    /// Returns one user.
    pub async fn user(&self, id: UserId) -> Result<ManagedUser, ChangeError> {
        self.staff.user(id).await?.ok_or(ChangeError::NotFound(ObjectKind::User))
    }

    /// Changes what a user may do. All sessions of a user who loses a right end at once.
    pub async fn update_user(
        &self,
        request: &ChangeRequest,
        id: UserId,
        change: UserAccessChange,
        precondition: &Precondition,
    ) -> Result<ChangeAnswer, ChangeError> {
        let answer = self
            .make(request, async || {
                let before = self.user(id).await?;
                precondition.check(before.version)?;
                Ok(Change::User { after: change.clone().apply(&before.access), before })
            })
            .await?;
        // The change is made, whether or not the generation can be read: without it the guard reads the end from the store within a second.
        if let Ok(user) = self.user(id).await {
            self.guard.ended_before(id, user.session_generation).await;
        }
        Ok(answer)
    }

    /// Returns a page of the bookings of the theatres that this member of staff works for, newest first.
    pub async fn bookings(
        &self,
        member: &StaffMember,
        query: StaffBookingQuery,
        page: &PageRequest<BookingCursor>,
    ) -> Result<Page<StaffBooking, BookingCursor>, StoreError> {
        let during = match query.date {
            Some(date) => Some(windows_of(self.catalog.as_ref(), date, None).await?),
            None => None,
        };
        let reference = query.search.as_deref().and_then(|text| Reference::parse(&text.trim().to_uppercase()).ok());
        let filter = StaffBookingFilter {
            search: query.search.as_deref().map(fold),
            reference: reference.map(|reference| reference.as_str().to_owned()),
            show_id: query.show_id,
            during,
            status: query.status,
            theatres: member.limited_to(),
        };
        let rows = self.bookings.staff_bookings(&filter, page).await?;
        Ok(page.cut(rows, |row| BookingCursor { booked_at: row.booking.booked_at, id: row.booking.id }))
    }

    /// Returns one booking. A booking of a theatre that this member of staff does not work for is not found.
    pub async fn booking(&self, member: &StaffMember, id: BookingId) -> Result<StaffBooking, ChangeError> {
        let found = self.bookings.staff_booking(id).await?;
        let visible = found.filter(|booking| member.has(Authority::Theatre(booking.theatre_id)));
        visible.ok_or(ChangeError::NotFound(ObjectKind::Booking))
    }

    /// Returns a page of the audit log, limited to the theatres of this member of staff.
    pub async fn audit(
        &self,
        member: &StaffMember,
        filter: AuditFilter,
        page: &PageRequest<AuditCursor>,
    ) -> Result<Page<AuditEntry, AuditCursor>, StoreError> {
        let filter = AuditFilter { theatres: member.limited_to(), ..filter };
        let rows = self.audit.entries(&filter, page).await?;
        Ok(page.cut(rows, |entry| AuditCursor(entry.id)))
    }

    /// Replays the stored answer, or computes a change and applies it. A change that has become stale is computed again.
    async fn make(
        &self,
        request: &ChangeRequest,
        compute: impl AsyncFn() -> Result<Change, ChangeError>,
    ) -> Result<ChangeAnswer, ChangeError> {
        // Before the change is computed: the first request has changed the object's version.
        if let Some(key) = &request.key
            && let Some(stored) = self.changes.stored(&key.name).await?
        {
            return stored.replay(key.fingerprint);
        }
        let mut tries = 1;
        loop {
            let change = compute().await?;
            match self.changes.apply(request, &change, Arc::clone(&self.encoder)).await {
                Err(ChangeError::Stale) if tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }
}

/// Checks that a member of staff works for this theatre.
pub(super) fn check(member: &StaffMember, theatre: TheatreId) -> Result<(), ChangeError> {
    if member.has(Authority::Theatre(theatre)) { Ok(()) } else { Err(ChangeError::Forbidden) }
}

#[cfg(test)]
mod tests;
