//! The movies on show.

use chrono::NaiveDate;
use domain::seed::MovieSeed;

/// A movie, and what the schedule has to know about it.
pub(super) struct Movie {
    /// What it is called, in English as it is commonly known.
    pub(super) title: &'static str,
    /// What it is about.
    description: &'static str,
    /// How long it runs, in minutes, without adverts.
    pub(super) minutes: i32,
    /// Its genres, the main one first.
    genres: &'static [&'static str],
    /// The age rating. All of them are those of the British board, so that they can be compared.
    certificate: &'static str,
    /// The language that is spoken, in English.
    pub(super) language: &'static str,
    /// The year, month and day it came to cinemas, where it was made or first distributed.
    released: (i32, u32, u32),
    /// Whether children come to see it: it is shown early, and dubbed in the afternoon.
    pub(super) family: bool,
    /// How else than in 2D it can be shown.
    pub(super) prints: Prints,
}

/// How else than in 2D a movie can be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Prints {
    /// In no other way.
    Flat,
    /// In IMAX.
    Imax,
    /// In 3D and in IMAX.
    ThreeDAndImax,
}

impl Movie {
    /// Returns the movie as a plan has it.
    pub(super) fn seed(&self) -> MovieSeed {
        let (year, month, day) = self.released;
        MovieSeed {
            title: self.title.into(),
            description: self.description.into(),
            duration_minutes: self.minutes,
            genres: self.genres.iter().map(|genre| (*genre).into()).collect(),
            language: self.language.into(),
            certificate: self.certificate.into(),
            // A test has every date exist.
            release_date: NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default(),
        }
    }
}

/// The movies. The schedule depends on their order and number: a change of either changes the shows of days
/// that are filled already.
pub(super) static MOVIES: [Movie; 14] = [
    Movie {
        title: "Spirited Away",
        description: "On the way to her new home a sulky ten-year-old strays into a bathhouse for spirits, where her \
                      parents are turned into pigs. To free them she has to work there, and to remember her own name.",
        minutes: 125,
        genres: &["Animation", "Fantasy", "Family"],
        certificate: "PG",
        language: "Japanese",
        released: (2001, 7, 20),
        family: true,
        prints: Prints::Flat,
    },
    Movie {
        title: "Amélie",
        description: "A shy waitress in Montmartre secretly sets other people's lives right, until she has to find \
                      the courage to do the same for her own.",
        minutes: 122,
        genres: &["Comedy", "Romance"],
        certificate: "15",
        language: "French",
        released: (2001, 4, 25),
        family: false,
        prints: Prints::Flat,
    },
    Movie {
        title: "Dune: Part Two",
        description: "Among the desert people of Arrakis, Paul Atreides prepares to avenge his family. The more they \
                      take him for their prophet, the more he fears the war he sees coming in his name.",
        minutes: 166,
        genres: &["Science Fiction", "Adventure", "Drama"],
        certificate: "12A",
        language: "English",
        released: (2024, 3, 1),
        family: false,
        prints: Prints::Imax,
    },
    Movie {
        title: "Parasite",
        description: "One by one, the members of a poor family talk their way into jobs in a rich one's house. Then \
                      they find out that they are not the only ones living off it.",
        minutes: 132,
        genres: &["Thriller", "Drama", "Comedy"],
        certificate: "15",
        language: "Korean",
        released: (2019, 5, 30),
        family: false,
        prints: Prints::Imax,
    },
    Movie {
        title: "The Lives of Others",
        description: "East Berlin, 1984: a captain of the secret police listens in on a playwright and an actress, and \
                      begins to doubt which side he is on.",
        minutes: 137,
        genres: &["Drama", "Thriller"],
        certificate: "15",
        language: "German",
        released: (2006, 3, 23),
        family: false,
        prints: Prints::Flat,
    },
    Movie {
        title: "Paddington 2",
        description: "A bear from Peru saves up for a pop-up book of London and goes to prison for stealing it. While \
                      his family looks for the real thief, he teaches the inmates about marmalade.",
        minutes: 103,
        genres: &["Family", "Comedy", "Adventure"],
        certificate: "PG",
        language: "English",
        released: (2017, 11, 10),
        family: true,
        prints: Prints::Flat,
    },
    Movie {
        title: "Stalker",
        description: "A guide takes a writer and a professor through the forbidden Zone, to a room that is said to \
                      grant the innermost wish of whoever enters.",
        minutes: 161,
        genres: &["Science Fiction", "Drama"],
        certificate: "PG",
        language: "Russian",
        released: (1979, 5, 25),
        family: false,
        prints: Prints::Flat,
    },
    Movie {
        title: "Mad Max: Fury Road",
        description: "A captured drifter and a rebel war captain flee through the wasteland in a stolen tanker truck, \
                      with a tyrant's five wives on board and his whole army behind them.",
        minutes: 120,
        genres: &["Action", "Science Fiction"],
        certificate: "15",
        language: "English",
        released: (2015, 5, 14),
        family: false,
        prints: Prints::ThreeDAndImax,
    },
    Movie {
        title: "Roma",
        description: "A year with a live-in maid and the family she works for in Mexico City around 1970. The father \
                      leaves, the maid expects a child, and the women carry on together.",
        minutes: 135,
        genres: &["Drama"],
        certificate: "15",
        language: "Spanish",
        released: (2018, 11, 21),
        family: false,
        prints: Prints::Flat,
    },
    Movie {
        title: "RRR",
        description: "In the India of the 1920s, a village protector looking for a kidnapped girl and a policeman with \
                      a secret become friends, neither knowing who the other is.",
        minutes: 182,
        genres: &["Action", "Drama"],
        certificate: "15",
        language: "Telugu",
        released: (2022, 3, 25),
        family: false,
        prints: Prints::ThreeDAndImax,
    },
    Movie {
        title: "Portrait of a Lady on Fire",
        description: "A painter comes to an island in Brittany to paint a bride who refuses to sit for her, and must \
                      do it from memory. The two women have a few days before the wedding.",
        minutes: 119,
        genres: &["Drama", "Romance"],
        certificate: "15",
        language: "French",
        released: (2019, 9, 18),
        family: false,
        prints: Prints::Flat,
    },
    Movie {
        title: "Spider-Man: Into the Spider-Verse",
        description: "Miles Morales of Brooklyn has barely been bitten by a spider when others like him drop in from \
                      parallel worlds. Together they have to close the gap before it swallows the city.",
        minutes: 117,
        genres: &["Animation", "Action", "Family"],
        certificate: "PG",
        language: "English",
        released: (2018, 12, 14),
        family: true,
        prints: Prints::ThreeDAndImax,
    },
    Movie {
        title: "City of God",
        description: "Two boys grow up in a suburb of Rio de Janeiro that gangs are taking over: one wants to rule it, \
                      the other to photograph it.",
        minutes: 130,
        genres: &["Crime", "Drama"],
        certificate: "18",
        language: "Portuguese",
        released: (2002, 8, 30),
        family: false,
        prints: Prints::Flat,
    },
    Movie {
        title: "Arrival",
        description: "Twelve alien vessels hang over the Earth, and a linguist is asked to find out what they want. \
                      The more of their language she learns, the less time seems to run in one direction.",
        minutes: 116,
        genres: &["Science Fiction", "Drama"],
        certificate: "12A",
        language: "English",
        released: (2016, 11, 11),
        family: false,
        prints: Prints::Imax,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::text::shown_line;

    use super::*;

    #[test]
    fn every_movie_can_be_kept() {
        for movie in &MOVIES {
            let seed = movie.seed();
            assert_eq!(shown_line(&seed.title, 1, 200).as_ref(), Ok(&seed.title), "{}", seed.title);
            assert_eq!(shown_line(&seed.description, 40, 500).as_ref(), Ok(&seed.description), "{}", seed.title);
            assert!(!seed.description.contains("  "), "{}", seed.title);
            assert_eq!(shown_line(&seed.language, 1, 50).as_ref(), Ok(&seed.language), "{}", seed.title);
            assert_eq!(shown_line(&seed.certificate, 1, 10).as_ref(), Ok(&seed.certificate), "{}", seed.title);
            assert!(!seed.genres.is_empty(), "{}", seed.title);
            for genre in &seed.genres {
                assert_eq!(shown_line(genre, 1, 50).as_ref(), Ok(genre), "{}", seed.title);
            }
            assert!((60..240).contains(&seed.duration_minutes), "{}", seed.title);
            let (year, month, day) = movie.released;
            assert_eq!(NaiveDate::from_ymd_opt(year, month, day), Some(seed.release_date), "{}", seed.title);
        }
    }

    #[test]
    fn the_movies_are_many_and_different() {
        let distinct = |field: fn(&Movie) -> &str| MOVIES.iter().map(field).collect::<BTreeSet<_>>().len();
        assert!(MOVIES.len() >= 12);
        assert_eq!(distinct(|movie| movie.title), MOVIES.len());
        assert!(distinct(|movie| movie.language) >= 6);
        assert!(distinct(|movie| movie.certificate) >= 3);
        assert!(MOVIES.iter().any(|movie| movie.family));
    }
}
