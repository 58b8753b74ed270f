//! The measured figures as a table of medians over rounds.

/// The figures of one measurement.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figures {
    /// Bookings a second.
    pub rate: f64,
    /// The median response time, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile of the response time, in milliseconds.
    pub p99_ms: f64,
}

/// One way to book, measured once in each round.
pub struct Row {
    pub name: String,
    pub clients: u32,
    rounds: Vec<Figures>,
}

impl Row {
    /// Returns the median of each figure over the rounds.
    pub fn median(&self) -> Figures {
        let median = |figure: fn(&Figures) -> f64| {
            let mut figures: Vec<_> = self.rounds.iter().map(figure).collect();
            figures.sort_unstable_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied().unwrap_or_default()
        };
        Figures {
            rate: median(|figures| figures.rate),
            p50_ms: median(|figures| figures.p50_ms),
            p99_ms: median(|figures| figures.p99_ms),
        }
    }
}

/// All ways to book, in the order of their first measurement.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds the figures of one round.
    pub fn add(&mut self, name: &str, clients: u32, figures: Figures) {
        match self.rows.iter_mut().find(|row| row.name == name && row.clients == clients) {
            Some(row) => row.rounds.push(figures),
            None => self.rows.push(Row { name: name.to_owned(), clients, rounds: vec![figures] }),
        }
    }

    /// Returns the median rate of a way to book. `None` if it was not measured.
    pub fn rate(&self, name: &str, clients: u32) -> Option<f64> {
        self.rows.iter().find(|row| row.name == name && row.clients == clients).map(|row| row.median().rate)
    }

    /// Returns the best median rate among the names with this prefix.
    pub fn best(&self, name: &str) -> f64 {
        let rates = self.rows.iter().filter(|row| row.name.starts_with(name)).map(|row| row.median().rate);
        rates.fold(0.0, f64::max)
    }

    /// Returns the table in Markdown. Each rate is also shown as a multiple of `base`.
    pub fn markdown(&self, base: f64) -> String {
        let head = "| one booking each | clients | bookings/s | p50, p99 (ms) | to pgbench's best |\n| --- | --- | --- | --- | --- |";
        let rows = self.rows.iter().map(|row| {
            let Figures { rate, p50_ms, p99_ms } = row.median();
            let Row { name, clients, .. } = row;
            format!("| {name} | {clients} | {rate:.0} | {p50_ms:.2}, {p99_ms:.2} | {:.2} |", ratio(rate, base))
        });
        std::iter::once(head.to_owned()).chain(rows).collect::<Vec<_>>().join("\n")
    }
}

/// Returns the quotient of two rates. 0 if the base is 0.
pub fn ratio(rate: f64, base: f64) -> f64 {
    if base > 0.0 { rate / base } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rate: f64) -> Figures {
        Figures { rate, p50_ms: 100.0 / rate, p99_ms: 1_000.0 / rate }
    }

    #[test]
    fn each_row_is_the_median_of_its_rounds_and_is_compared_with_the_best() {
        let mut table = Table::default();
        for rate in [300.0, 100.0, 200.0] {
            table.add("pgbench, CTE", 8, figures(rate));
            table.add("pgbench, CTE", 64, figures(rate / 2.0));
            table.add("server", 64, figures(rate * 2.0));
        }
        assert_eq!(table.rate("server", 64), Some(400.0));
        assert_eq!(table.rate("server", 1), None);
        assert_eq!(table.best("pgbench"), 200.0);
        let markdown = table.markdown(table.best("pgbench"));
        let lines: Vec<_> = markdown.lines().collect();
        assert_eq!(lines[2], "| pgbench, CTE | 8 | 200 | 0.50, 5.00 | 1.00 |");
        assert_eq!(lines[3], "| pgbench, CTE | 64 | 100 | 1.00, 10.00 | 0.50 |");
        assert_eq!(lines[4], "| server | 64 | 400 | 0.25, 2.50 | 2.00 |");
    }

    #[test]
    fn nothing_is_a_multiple_of_nothing() {
        assert_eq!(ratio(5.0, 0.0), 0.0);
        assert_eq!(Table::default().best("pgbench"), 0.0);
    }
}
