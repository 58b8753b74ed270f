//! The command line.

mod healthcheck;
mod import;
mod transfer;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use adapters_auth::{Argon2Passwords, OsRandom, SystemClock};
use adapters_sqlite::Redated;
use clap::{CommandFactory as _, Parser, Subcommand};
use domain::admin::ChangeOrigin;
use domain::clock::Clock as _;
use domain::error::with_sources;
use domain::identity::{Email, Name, NewUser, Password, PasswordHasher as _, Requester, Role, UserStoreError};
use domain::random::OperationId;
use domain::transfer::ImportReport;

use self::import::{ImportArguments, import};
use crate::demo::seeding::{add_accounts, top_up};
use crate::http::openapi;
use crate::settings::secrets::{DEMO_ACCOUNTS_FILE, DemoAccounts, JWT_SECRET_FILE};
use crate::settings::{self, Config, Loaded, StoreConfig};
use crate::telemetry;
use crate::wiring::server::{RunningServer, start, stop_signal};
use crate::wiring::stores::{DATABASE_FILE, OpenStore, Purpose};

/// The exit code of a mistake in the settings. That of other failures is 1.
const EXIT_CONFIG: u8 = 2;
/// How long an ending server waits for output without a reader. Output that is read takes milliseconds.
const SERVER_FLUSH_MAX: Duration = Duration::from_secs(1);
/// How long another command waits: its output is its result.
const COMMAND_FLUSH_MAX: Duration = Duration::from_secs(60);

/// A cinema chain's booking system: an HTTP API that never sells a seat twice, and never books a retry twice.
///
/// Without a command it serves. Without settings it uses an embedded store with demo data in ./data, and needs no other service.
#[derive(Parser)]
#[command(name = "movie-booking", version, after_long_help = settings::help())]
struct Cli {
    /// A TOML file of settings in lower case, like `port = 8080`. The environment and .env take precedence.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve requests until SIGTERM, SIGHUP or Ctrl-C (the default).
    Serve {
        /// Migrate PostgreSQL's schema first. The embedded store is always migrated.
        #[arg(long)]
        migrate: bool,
    },
    /// Migrate the store's schema to this version.
    Migrate,
    /// Add demo movies, theatres, halls and the shows of the next 14 days. Existing data stays unchanged.
    Seed {
        /// Also add a demo customer and a demo administrator, and print their passwords.
        #[arg(long)]
        demo: bool,
    },
    /// Import a file, or the data of the Express "Movie Booking API", all or none.
    ///
    /// What exists with the same content stays unchanged, so a repeated import adds nothing.
    Import(ImportArguments),
    /// Export all ticket types, movies, theatres, halls, price lists and shows as such a file.
    Export {
        /// The file to create. It must not exist. Without it, the output is standard output.
        file: Option<PathBuf>,
        /// The format. By default that of the file's name, and TOML without a file.
        #[arg(long, value_enum)]
        format: Option<transfer::FileFormat>,
    },
    /// Manage administrators' accounts.
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Copy the embedded store to a new file. The server can keep running.
    Backup {
        /// The file to create. It must not exist.
        file: PathBuf,
    },
    /// Show the rows of the embedded store that are dated later than the system's clock; with --confirm, date them now. For a store that was
    /// written while the clock was ahead. The server must be stopped.
    AcceptClock {
        /// Change the dates.
        #[arg(long)]
        confirm: bool,
    },
    /// Check the settings: report every error, or print each setting with its value and its source.
    CheckConfig,
    /// Ask the server of these settings on this machine whether it is ready. For the health check of a container.
    Healthcheck,
    /// Print the OpenAPI document.
    Openapi,
}

#[derive(Subcommand)]
enum AdminCommand {
    /// Create an administrator's account. The password is read from the prompt or from standard input.
    Create {
        /// The e-mail address to log in with.
        #[arg(long)]
        email: String,
        /// The administrator's name.
        #[arg(long, default_value = "Administrator")]
        name: String,
    },
    /// Set a new password for an account and end its sessions. The password is read from the prompt or from standard input.
    ResetPassword {
        /// The account's e-mail address.
        #[arg(long)]
        email: String,
    },
}

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Returns each command with its help, for the reference page. The settings have a page of their own.
pub fn reference() -> Vec<(String, String)> {
    fn add(command: &mut clap::Command, path: &str, found: &mut Vec<(String, String)>) {
        let help = command.clone().bin_name(path).render_long_help().to_string();
        let lines: Vec<_> = help.trim().lines().map(str::trim_end).collect();
        found.push((path.to_owned(), lines.join("\n")));
        let subcommands = command.get_subcommands_mut().filter(|subcommand| subcommand.get_name() != "help");
        for subcommand in subcommands {
            let path = format!("{path} {}", subcommand.get_name());
            add(subcommand, &path, found);
        }
    }
    let mut found = Vec::new();
    let mut command = Cli::command().after_long_help("").term_width(100);
    command.build();
    add(&mut command, "movie-booking", &mut found);
    found
}

/// Runs the program with the arguments of its process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Some(Command::Openapi)) {
        return print(&openapi::to_json());
    }
    let loaded = match settings::load(cli.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            telemetry::print_error(&format!(
                "{errors}\nNothing was started. `movie-booking --help` lists the settings."
            ));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if matches!(cli.command, Some(Command::Healthcheck)) {
        // One line, and no log: it is asked every few seconds.
        return match healthcheck::ask(loaded.config.values.host, loaded.config.values.port) {
            Ok(ready) => print(&format!("{ready}\n")),
            Err(unhealthy) => fail(&unhealthy),
        };
    }
    if let Err(error) = telemetry::init(&loaded.config) {
        return fail(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let command = cli.command.unwrap_or(Command::Serve { migrate: false });
    let patience = if matches!(command, Command::Serve { .. }) { SERVER_FLUSH_MAX } else { COMMAND_FLUSH_MAX };
    let outcome = runtime.block_on(run(command, &loaded));
    // What was awaited is over. A thread that blocks nevertheless must not keep the process.
    runtime.shutdown_background();
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    };
    telemetry::flush(patience);
    code
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    telemetry::print_error(&format!("movie-booking: {}.", with_sources(error)));
    ExitCode::FAILURE
}

fn print(text: &str) -> ExitCode {
    telemetry::print(text);
    ExitCode::SUCCESS
}

async fn run(command: Command, loaded: &Loaded) -> Outcome {
    let config = &loaded.config;
    match command {
        Command::Serve { migrate } => {
            let purpose = if migrate { Purpose::ServeAndMigrate } else { Purpose::Serve };
            let server = start(config, purpose).await?;
            // Before the address is printed: a signal may come as soon as it is known.
            let stop = stop_signal()?;
            print(&greeting(&server, config));
            Ok(server.run_until(stop).await?)
        }
        Command::Migrate => {
            let store = OpenStore::open(config, Purpose::Migrate).await?;
            print(&format!("{} migrations run; the schema is up to date.\n", store.migrated));
            Ok(())
        }
        Command::Seed { demo } => seed(config, demo).await,
        Command::Import(arguments) => import(config, arguments).await,
        Command::Export { file, format } => transfer::export(config, file.as_deref(), format).await,
        Command::Admin { command } => admin(config, command).await,
        Command::Backup { file } => backup(config, file).await,
        Command::AcceptClock { confirm } => accept_clock(config, confirm).await,
        Command::CheckConfig => {
            print(&format!("{}\n", settings::describe(loaded)));
            if let Some(found) = OpenStore::probe(&loaded.config).await? {
                print(&format!("\n{found}.\n"));
            }
            Ok(())
        }
        // These two are over before there is a runtime.
        Command::Healthcheck | Command::Openapi => Ok(()),
    }
}

fn greeting(server: &RunningServer, config: &Config) -> String {
    let base = format!("http://{}", server.address);
    let store = match &config.store {
        StoreConfig::Embedded { data_dir } => format!("embedded, in {}", data_dir.display()),
        StoreConfig::Postgres(_) => "PostgreSQL".to_owned(),
    };
    let mut lines = vec![
        format!("movie-booking listens on {base}"),
        format!("  documentation   {base}/docs/"),
        format!("  store           {store}"),
    ];
    if let Some(address) = server.metrics_address {
        lines.push(format!("  metrics         http://{address}/metrics"));
    }
    if let Some(accounts) = &server.demo_accounts {
        lines.push(format!("  demo customer   {}  {}", DemoAccounts::CUSTOMER, accounts.customer_password));
        lines.push(format!("  demo admin      {}  {}", DemoAccounts::ADMIN, accounts.admin_password));
    }
    lines.join("\n") + "\n"
}

async fn seed(config: &Config, demo: bool) -> Outcome {
    let store = OpenStore::open(config, Purpose::Administer).await?;
    if !demo {
        print(&added(&top_up(&store.ports.transfer).await?));
        return Ok(());
    }
    let accounts = DemoAccounts::draw();
    print(&added(&top_up(&store.ports.transfer).await?));
    let users = add_accounts(store.ports.seeder.as_ref(), &Argon2Passwords::default(), &accounts).await?;
    if let (Some(directory), 2) = (&store.data_dir, users) {
        // The server prints them, and keeps a store that has them topped up.
        accounts.keep(directory)?;
    }
    match users {
        2 => print(&format!(
            "Demo customer: {}  {}\nDemo admin:    {}  {}\n",
            DemoAccounts::CUSTOMER,
            accounts.customer_password,
            DemoAccounts::ADMIN,
            accounts.admin_password
        )),
        _ => print("The demo accounts were there already; `admin reset-password` gives them new passwords.\n"),
    };
    Ok(())
}

fn added(report: &ImportReport) -> String {
    let [movies, theatres, halls, shows] =
        [report.movies, report.theatres, report.halls, report.shows].map(|count| count.added);
    format!("Added {movies} movies, {theatres} theatres, {halls} halls and {shows} shows.\n")
}

async fn admin(config: &Config, command: AdminCommand) -> Outcome {
    match command {
        AdminCommand::Create { email, name } => {
            let email = Email::parse(&email).map_err(|error| format!("--email {error}"))?;
            let name = Name::parse(&name).map_err(|error| format!("--name {error}"))?;
            let password = read_password()?;
            let store = OpenStore::open(config, Purpose::Administer).await?;
            let password_hash = Argon2Passwords::default().hash(&Requester::OPERATOR, &password).await?;
            let user = NewUser { name, email, password_hash, role: Role::Admin };
            match store.ports.users.create_by_operator(&user, &origin()).await {
                Ok(user) => print(&format!("Administrator {} ({}) can log in.\n", user.email, user.id)),
                Err(UserStoreError::EmailTaken) => {
                    return Err("an account with this address exists already; nothing was changed".into());
                }
                Err(UserStoreError::Store(error)) => return Err(error.into()),
            };
        }
        AdminCommand::ResetPassword { email } => {
            let email = Email::attempt(&email).map_err(|error| format!("--email {error}"))?;
            let password = read_password()?;
            let store = OpenStore::open(config, Purpose::Administer).await?;
            let hash = Argon2Passwords::default().hash(&Requester::OPERATOR, &password).await?;
            let user = store.ports.users.reset_password(&email, &hash, &origin()).await?;
            let user = user.ok_or("there is no account with this address")?;
            print(&format!("{} has a new password; its sessions have ended.\n", user.email));
        }
    }
    Ok(())
}

/// Returns the origin of this command's changes, for the audit log.
fn origin() -> ChangeOrigin {
    ChangeOrigin::command_line(format!("{:?}", OperationId::draw(&OsRandom)))
}

async fn backup(config: &Config, file: PathBuf) -> Outcome {
    let (store, data_dir) = OpenStore::to_be_copied(config).await?;
    let target = file.clone();
    let bytes = tokio::task::spawn_blocking(move || store.backup(&target)).await??;
    let (file, data_dir) = (file.display(), data_dir.display());
    print(&format!(
        "Copied the store to {file}: {bytes} bytes.\n\
         To restore it, put it into an empty data directory as {DATABASE_FILE}, and start a server there.\n\
         It holds everybody's addresses and password hashes. Not in it, and not needed to restore it:\n  \
         {data_dir}/{JWT_SECRET_FILE}: without it access tokens end early, and clients refresh them\n  \
         {data_dir}/{DEMO_ACCOUNTS_FILE}, in a demo: without it no more demo shows are added\n"
    ));
    Ok(())
}

async fn accept_clock(config: &Config, confirm: bool) -> Outcome {
    let (store, _lock) = OpenStore::with_any_clock(config).await?;
    let now = SystemClock.now().format("%Y-%m-%dT%H:%M:%SZ");
    let Redated { rows } = if confirm { store.date_now().await? } else { store.dated_later().await? };
    if rows.is_empty() {
        print(&format!("The system's clock says {now}, and nothing in the store is dated later.\n"));
        return Ok(());
    }
    let rows: Vec<_> = rows.into_iter().map(|(table, rows)| format!("  {table}  {rows}\n")).collect();
    let rows = rows.concat();
    if confirm {
        print(&format!(
            "Dated now, {now}:\n{rows}Holds and sessions that were made later end as much earlier. Shows keep their times.\n"
        ));
    } else {
        print(&format!(
            "The system's clock says {now}. Rows that are dated later, by table:\n{rows}\
             If the clock is right, `movie-booking accept-clock --confirm` dates them now. Holds and sessions among them end as much\n\
             earlier; shows keep their times. Make a backup first. If the clock is wrong, correct it, and change nothing here.\n"
        ));
    }
    Ok(())
}

/// Returns a new password: from the terminal without showing it, or the first line of standard input.
fn read_password() -> Result<Password, Box<dyn std::error::Error + Send + Sync>> {
    let text = if std::io::stdin().is_terminal() {
        rpassword::prompt_password("New password: ")?
    } else {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    Ok(Password::parse(&text).map_err(|error| format!("the password {error}"))?)
}
