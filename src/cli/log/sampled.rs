//! Lines that strangers can cause, under a flood: the first of each kind in every ten seconds, and then how many more there
//! were. What went well is never left out, nor what an administrator asked to see besides.

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Lines of one kind in each stretch of time.
const LINES: u32 = 100;
const STRETCH: Duration = Duration::from_secs(10);
/// How often it is looked whether there is something to be told.
const LOOK: Duration = Duration::from_secs(1);
/// Kinds that are told apart: more are one.
const KINDS: usize = 1_000;
/// The target of what is told of lines that were left out.
const TARGET: &str = "wayleave::log";

/// Leaves lines out.
#[derive(Clone, Debug)]
pub(super) struct Sampled(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    kinds: Mutex<HashMap<Key, Kind>>,
}

/// Where a line is made, and what it says that is of few values. `None`: one kind too many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key(Option<(Identifier, u64)>);

/// What came of one kind.
#[derive(Debug)]
struct Kind {
    name: String,
    /// Which stretch of time this is about.
    stretch: u64,
    lines: u32,
    left_out: u64,
}

impl Sampled {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            began: Instant::now(),
            kinds: Mutex::default(),
        }))
    }

    fn kinds(&self) -> MutexGuard<'_, HashMap<Key, Kind>> {
        let kinds = self.0.kinds.lock();
        kinds.unwrap_or_else(PoisonError::into_inner)
    }

    fn stretch(&self) -> u64 {
        self.0.began.elapsed().as_secs() / STRETCH.as_secs()
    }

    /// Is a line of this kind written?
    fn passes(&self, key: Key, name: impl FnOnce() -> String, stretch: u64) -> bool {
        let mut kinds = self.kinds();
        let is_told_apart = kinds.contains_key(&key) || kinds.len() < KINDS;
        let key = if is_told_apart { key } else { Key(None) };
        let kind = kinds.entry(key).or_insert_with(|| Kind {
            name: match is_told_apart {
                true => name(),
                false => "other kinds".to_owned(),
            },
            stretch,
            lines: 0,
            left_out: 0,
        });
        // What was left out of an earlier stretch, and is not told yet, is told with this one's.
        if kind.stretch != stretch {
            (kind.stretch, kind.lines) = (stretch, 0);
        }
        let passes = kind.lines < LINES;
        match passes {
            true => kind.lines += 1,
            false => kind.left_out += 1,
        }
        passes
    }

    /// What was left out before this stretch: each kind, and how many lines. Kinds of which nothing comes are forgotten.
    fn left_out(&self, before: u64) -> Vec<(String, u64)> {
        let mut told = Vec::new();
        self.kinds().retain(|_, kind| {
            if kind.stretch >= before {
                return true;
            }
            if kind.left_out > 0 {
                told.push((std::mem::take(&mut kind.name), kind.left_out));
            }
            false
        });
        told
    }

    /// Tells of lines that were left out, each time when a stretch is over.
    pub(super) async fn tell_in_time(self) {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tick.tick().await;
            self.tell(self.stretch());
        }
    }

    /// Tells of all of them.
    pub(super) fn tell_all(&self) {
        self.tell(u64::MAX);
    }

    fn tell(&self, before: u64) {
        for (kind, more) in self.left_out(before) {
            tracing::warn!(target: TARGET, kind, more, "more lines of this kind were left out");
        }
    }
}

impl Sampled {
    /// Is this line written?
    fn writes(&self, event: &Event<'_>) -> bool {
        let about = event.metadata();
        if *about.level() > Level::INFO || about.target() == TARGET {
            return true;
        }
        let mut says = Says::default();
        event.record(&mut says);
        let has = |field: &str| about.fields().field(field).is_some();
        let is_refusal = *about.level() <= Level::WARN
            || says.status.is_some_and(|status| status >= 400)
            || has("code")
            || has("reference");
        if !is_refusal {
            return true;
        }
        let key = Key(Some((about.callsite(), says.hash())));
        self.passes(key, || Named::of(event), self.stretch())
    }
}

/// A layer that writes lines, but for those that are left out. No filter: one that decides by an event's values
/// ([`Filter::event_enabled`](tracing_subscriber::layer::Filter::event_enabled)) and refuses it leaves its mark for the next.
pub(super) struct Lines<L> {
    pub(super) sampled: Sampled,
    pub(super) lines: L,
}

impl<S, L> Layer<S> for Lines<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    L: Layer<S>,
{
    fn on_layer(&mut self, subscriber: &mut S) {
        self.lines.on_layer(subscriber);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if self.sampled.writes(event) {
            self.lines.on_event(event, context);
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.lines.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.lines.on_record(id, values, context);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        self.lines.on_follows_from(id, follows, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.lines.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.lines.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.lines.on_close(id, context);
    }
}

/// Fields that tell one kind of line from another: names of ours.
const NAMES: [&str; 2] = ["code", "route"];

/// What tells one kind of line from another.
#[derive(Default)]
struct Says {
    status: Option<u64>,
    names: DefaultHasher,
}

impl Says {
    fn hash(mut self) -> u64 {
        self.status.hash(&mut self.names);
        self.names.finish()
    }
}

impl Visit for Says {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "status" {
            self.status = Some(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if NAMES.contains(&field.name()) {
            (field.name(), value).hash(&mut self.names);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// A kind of line as it is told: its text, and the same in words.
struct Named(Vec<String>);

impl Named {
    /// As much of each part as is told.
    const LONGEST: usize = 128;

    fn of(event: &Event<'_>) -> String {
        let mut named = Self(Vec::new());
        event.record(&mut named);
        named.0.join(" ")
    }

    fn add(&mut self, text: &str) {
        self.0.push(text.chars().take(Self::LONGEST).collect());
    }
}

impl Visit for Named {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "status" {
            self.add(&value.to_string());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if NAMES.contains(&field.name()) {
            self.add(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.add(&format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<AtomicU32>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines are written of those that `says` makes.
    fn written(sampled: &Sampled, says: impl FnOnce()) -> u32 {
        let written = Written::default();
        let lines = Lines {
            sampled: sampled.clone(),
            lines: written.clone(),
        };
        let layers = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(layers, says);
        written.0.load(Ordering::Relaxed)
    }

    #[test]
    fn of_each_kind_of_refusal_some_lines_are_written_and_the_others_are_counted() {
        let sampled = Sampled::new();
        let refused = |code: &'static str| {
            for n in 0..1_000 {
                tracing::info!(code, told = %n, "request refused");
            }
        };
        assert_eq!(written(&sampled, || refused("invalid_client")), LINES);
        assert_eq!(written(&sampled, || refused("invalid_grant")), LINES);
        assert_eq!(
            sampled.left_out(0),
            [],
            "told when the stretch of time is over"
        );
        let mut told = sampled.left_out(u64::MAX);
        told.sort();
        let more = 1_000 - u64::from(LINES);
        assert_eq!(
            told,
            [
                ("request refused invalid_client".to_owned(), more),
                ("request refused invalid_grant".to_owned(), more)
            ]
        );
        assert_eq!(sampled.left_out(u64::MAX), [], "once");
    }

    #[test]
    fn what_went_well_is_never_left_out_nor_what_is_told_of_the_others() {
        let sampled = Sampled::new();
        let lines = written(&sampled, || {
            for _ in 0..1_000 {
                tracing::info!(method = "GET", route = "/", status = 200_u16, "request");
                tracing::debug!(code = "invalid_client", "request refused");
                tracing::info!(client = "a", "tokens were issued");
            }
        });
        assert_eq!(lines, 3_000);
        let lines = written(&sampled, || {
            for _ in 0..1_000 {
                tracing::info!(method = "GET", route = "/", status = 503_u16, "request");
            }
            sampled.tell_all();
        });
        assert_eq!(lines, LINES + 1);
    }

    #[test]
    fn every_stretch_of_time_has_its_lines_and_of_many_kinds_the_rest_is_one() {
        let sampled = Sampled::new();
        let site = tracing::info_span!("a").metadata().map(|it| it.callsite());
        let passes = |kind: u64, stretch| {
            let key = Key(site.clone().map(|site| (site, kind)));
            sampled.passes(key, || kind.to_string(), stretch)
        };
        let lines = |kind, stretch| (0..200).filter(|_| passes(kind, stretch)).count();
        assert_eq!((lines(1, 0), lines(1, 1)), (100, 100));
        assert_eq!(sampled.left_out(2), [("1".to_owned(), 200)]);

        assert!((0..5_000).all(|kind| kind >= 1_100 || passes(kind, 3)));
        assert!(sampled.kinds().len() <= KINDS + 1);
        assert!(!passes(10_000, 3), "those too many share their lines");
        assert!(passes(1, 3));
        sampled.left_out(4);
        assert_eq!(sampled.kinds().len(), 0);
    }
}
