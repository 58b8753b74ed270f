//! Secrets that the embedded store makes and keeps in its directory, readable by its owner alone.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use adapters_auth::{JwtAccessTokens, random_password, random_secret};
use secrecy::{ExposeSecret as _, SecretString};

/// The file of the secret that signs access tokens.
pub const JWT_SECRET_FILE: &str = "jwt-secret";
/// The file of the demo accounts.
pub const DEMO_ACCOUNTS_FILE: &str = "demo-accounts.toml";

/// The demo accounts as they were made. Whoever changes a password knows the new one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DemoAccounts {
    /// The customer's password.
    pub customer_password: String,
    /// The administrator's password.
    pub admin_password: String,
}

impl DemoAccounts {
    /// The customer's address.
    pub const CUSTOMER: &'static str = "customer@demo.example";
    /// The administrator's address.
    pub const ADMIN: &'static str = "admin@demo.example";

    /// Accounts with random passwords.
    pub fn draw() -> Self {
        Self { customer_password: random_password(), admin_password: random_password() }
    }

    /// The accounts that were kept in the directory; `None` if there are none.
    pub fn load(directory: &Path) -> std::io::Result<Option<Self>> {
        let path = directory.join(DEMO_ACCOUNTS_FILE);
        let Some(text) = read(&path)? else { return Ok(None) };
        // Not the parser's own text: that shows the line, and a password is in it.
        let table: toml::Table = text.parse().map_err(|_| damaged(&path, "is not TOML"))?;
        let password = |name: &str| table.get(name).and_then(toml::Value::as_str).map(str::to_owned);
        Ok(password("customer_password")
            .zip(password("admin_password"))
            .map(|(customer_password, admin_password)| Self { customer_password, admin_password }))
    }

    /// Keeps the accounts in the directory.
    pub fn keep(&self, directory: &Path) -> std::io::Result<()> {
        let text = format!(
            "# The demo accounts as they were made.\ncustomer = \"{}\"\ncustomer_password = \"{}\"\nadmin = \"{}\"\nadmin_password = \"{}\"\n",
            Self::CUSTOMER,
            self.customer_password,
            Self::ADMIN,
            self.admin_password
        );
        write_private(&directory.join(DEMO_ACCOUNTS_FILE), &text)
    }
}

/// The secret that signs access tokens: the one that is kept in the directory, else a new one.
pub fn jwt_secret(directory: &Path) -> std::io::Result<SecretString> {
    let path = directory.join(JWT_SECRET_FILE);
    if let Some(kept) = read(&path)? {
        let kept = kept.trim();
        let whole = kept.len() >= JwtAccessTokens::SECRET_LENGTH_MIN;
        return if whole { Ok(kept.to_owned().into()) } else { Err(damaged(&path, "is too short")) };
    }
    let secret = random_secret();
    write_private(&path, secret.expose_secret())?;
    Ok(secret)
}

fn damaged(path: &Path, how: &str) -> std::io::Error {
    let text = format!("{} {how}: remove it, and it is made anew", path.display());
    std::io::Error::new(ErrorKind::InvalidData, text)
}

fn read(path: &Path) -> std::io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file that only its owner reads: whole or not at all, so that a crash leaves no half of a secret.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_and_kept_for_their_owner() {
        let directory = tempfile::tempdir().unwrap();
        let first = jwt_secret(directory.path()).unwrap();
        assert!(first.expose_secret().len() >= 32);
        assert_eq!(jwt_secret(directory.path()).unwrap().expose_secret(), first.expose_secret());
        let accounts = DemoAccounts::draw();
        assert_eq!(DemoAccounts::load(directory.path()).unwrap(), None);
        accounts.keep(directory.path()).unwrap();
        assert_eq!(DemoAccounts::load(directory.path()).unwrap(), Some(accounts));
        #[cfg(unix)]
        for name in [JWT_SECRET_FILE, DEMO_ACCOUNTS_FILE] {
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(directory.path().join(name)).unwrap());
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
