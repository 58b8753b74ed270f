//! Filling a store with the demo data, and keeping shows ahead of it.

use std::sync::Arc;

use adapters_auth::SystemClock;
use catalog_file::FileMistake;
use domain::StoreError;
use domain::identity::{Email, Name, NewUser, Password, PasswordHasher, PasswordHasherError, Requester, Role};
use domain::seed::{SeedPlan, Seeder};
use domain::text::TextError;
use domain::transfer::{ImportActor, ImportError, ImportMode, ImportReport, TransferService, TransferStore};
use thiserror::Error;

use crate::demo;
use crate::settings::secrets::DemoAccounts;

/// Why the store was not seeded.
#[derive(Debug, Error)]
pub enum SeedError {
    /// A demo account isn't one.
    #[error("a demo account is not valid: {0}")]
    Account(#[from] TextError),
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordHasherError),
    /// The demo data is not valid.
    #[error("the demo data has mistakes: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
    File(Vec<FileMistake>),
    /// The demo data does not fit to the store.
    #[error(transparent)]
    Import(ImportError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ImportError> for SeedError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Store(error) => Self::Store(error),
            other => Self::Import(other),
        }
    }
}

/// Adds the demo accounts, and returns how many of them are new.
pub async fn add_accounts(
    seeder: &dyn Seeder,
    passwords: &dyn PasswordHasher,
    accounts: &DemoAccounts,
) -> Result<usize, SeedError> {
    let customer =
        account(passwords, "Demo Customer", DemoAccounts::CUSTOMER, &accounts.customer_password, Role::Customer);
    let admin = account(passwords, "Demo Administrator", DemoAccounts::ADMIN, &accounts.admin_password, Role::Admin);
    let (customer, admin) = futures::future::try_join(customer, admin).await?;
    let plan = SeedPlan { users: vec![customer, admin], ..SeedPlan::default() };
    Ok(seeder.seed(&plan).await?.users)
}

/// Imports what is missing of the demo data: ticket types, movies, theatres, and the shows around now. What was changed stays as it is.
pub async fn top_up(transfer: &Arc<dyn TransferStore>) -> Result<ImportReport, SeedError> {
    let document = demo::document().map_err(SeedError::File)?;
    let service = TransferService::new(Arc::clone(transfer), Arc::new(SystemClock));
    Ok(service.import(document, ImportMode::Keep, false, &ImportActor::CommandLine).await?)
}

async fn account(
    passwords: &dyn PasswordHasher,
    name: &str,
    email: &str,
    password: &str,
    role: Role,
) -> Result<NewUser, SeedError> {
    let password_hash = passwords.hash(&Requester::OPERATOR, &Password::parse(password)?).await?;
    Ok(NewUser { name: Name::parse(name)?, email: Email::parse(email)?, password_hash, role })
}
