//! Filling a store with the demo data, and keeping shows ahead of it.

use domain::StoreError;
use domain::clock::Clock as _;
use domain::identity::{Email, Name, NewUser, Password, PasswordHasher, PasswordHasherError, Requester, Role};
use domain::seed::{Seeded, Seeder};
use domain::text::TextError;
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
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Adds the demo accounts, movies, theatres, and the shows around now.
pub async fn seed_demo(
    seeder: &dyn Seeder,
    passwords: &dyn PasswordHasher,
    accounts: &DemoAccounts,
) -> Result<Seeded, SeedError> {
    let customer =
        account(passwords, "Demo Customer", DemoAccounts::CUSTOMER, &accounts.customer_password, Role::Customer);
    let admin = account(passwords, "Demo Administrator", DemoAccounts::ADMIN, &accounts.admin_password, Role::Admin);
    let (customer, admin) = futures::future::try_join(customer, admin).await?;
    Ok(seeder.seed(&demo::plan(adapters_auth::SystemClock.now(), vec![customer, admin])).await?)
}

/// Adds what is missing of the demo movies and theatres, and the shows around now.
pub async fn top_up(seeder: &dyn Seeder) -> Result<Seeded, SeedError> {
    Ok(seeder.seed(&demo::plan(adapters_auth::SystemClock.now(), Vec::new())).await?)
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
