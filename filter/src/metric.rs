//! Metrics of exchanges. In: every finished exchange, sampled or not. Out: OTLP `Metric`s once an interval: durations,
//! and where asked for, exchanges under way and the sizes of bodies. A meter belongs to an exporter. What it holds is
//! bounded: beyond `metrics.maxSeries` sets of attributes all others share one, as OpenTelemetry's SDKs do it.

pub mod exemplar;
mod exponential;
mod histogram;
pub mod identity;

use crate::attributes::{Kind, Request};
use crate::config::{self, MAX_POINTS, Temporality};
use crate::hash;
use crate::otlp::{Buffer, Key, Value, key};
use crate::table::Table;
use exemplar::Exemplar;
use histogram::{Histogram, Shape, Span};
use identity::Subject;

/// Counts exchanges of one exporter.
#[derive(Debug)]
pub struct Meter {
    temporality: Temporality,
    interval: u64,
    max_series: usize,
    durations: Shape,
    /// Only where sizes are asked for.
    sizes: Option<Shape>,
    series: Table<Series>,
    /// Of servers and of clients, whatever found no room.
    overflow: [Option<Box<Series>>; 2],
    active: Vec<Active>,
    /// Tells this writer's streams from those of others in the same proxy.
    writer: Option<i64>,
    /// When the last collection was, or else the first measurement; Unix time in nanoseconds.
    since: Option<u64>,
    /// Whether there was a measurement since then.
    is_fresh: bool,
    scratch: Buffer,
}

/// A finished exchange.
#[derive(Debug, Clone, Copy)]
pub struct Measurement<'a> {
    /// What decides on its series.
    pub subject: Subject<'a>,
    /// Nanoseconds that it took.
    pub nanos: u64,
    /// Its end, Unix time in nanoseconds.
    pub now: u64,
    /// Its span, where one is exported.
    pub exemplar: Option<Exemplar>,
}

/// Everything with the same attributes.
#[derive(Debug)]
struct Series {
    kind: Kind,
    attributes: Vec<u8>,
    since: u64,
    duration: Histogram,
    /// Of the requests' and the responses' bodies.
    sizes: Option<[Histogram; 2]>,
}

/// Exchanges under way with the same attributes.
#[derive(Debug)]
struct Active {
    kind: Kind,
    attributes: Vec<u8>,
    since: u64,
    value: i64,
}

/// How many slots of the table are tried for a set of attributes before it counts as too much.
const PROBES: u32 = 8;
const CUMULATIVE: u64 = 2;
const DELTA: u64 = 1;

/// A metric as it is told.
struct Instrument {
    name: [&'static str; 2],
    description: [&'static str; 2],
    unit: &'static str,
}

const DURATION: Instrument = Instrument {
    name: ["http.server.request.duration", "http.client.request.duration"],
    description: ["Duration of HTTP server requests.", "Duration of HTTP client requests."],
    unit: "s",
};
const SIZES: [Instrument; 2] = [
    Instrument {
        name: ["http.server.request.body.size", "http.client.request.body.size"],
        description: ["Size of HTTP server request bodies.", "Size of HTTP client request bodies."],
        unit: "By",
    },
    Instrument {
        name: ["http.server.response.body.size", "http.client.response.body.size"],
        description: ["Size of HTTP server response bodies.", "Size of HTTP client response bodies."],
        unit: "By",
    },
];
const ACTIVE: Instrument = Instrument {
    name: ["http.server.active_requests", "http.client.active_requests"],
    description: ["Number of active HTTP server requests.", "Number of active HTTP client requests."],
    unit: "{request}",
};

/// Takes encoded metrics, each with the number of its data points.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(u32, &[u8]);

/// Bounds of one encoded metric, so that it fits into a batch with others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    pub(crate) points: u32,
    pub(crate) bytes: usize,
}

fn index(kind: Kind) -> usize {
    match kind {
        Kind::Server => 0,
        Kind::Client => 1,
    }
}

// === impl Meter ===

impl Meter {
    /// A meter; `None` where there are to be no metrics.
    pub fn new(settings: &config::Metrics) -> Option<Self> {
        let shape = |bounds: &[f64]| Shape {
            form: settings.histogram,
            bounds: bounds.to_vec(),
            max_buckets: settings.max_buckets as usize,
        };
        settings.enabled.then(|| Self {
            temporality: settings.temporality,
            interval: settings.interval.as_nanos(),
            max_series: settings.max_series as usize,
            durations: shape(&settings.boundaries),
            sizes: settings.body_sizes.then(|| shape(&settings.size_boundaries)),
            series: Table::for_about(64),
            overflow: [None, None],
            active: Vec::new(),
            writer: None,
            since: None,
            is_fresh: false,
            scratch: Buffer::default(),
        })
    }

    /// Whether it wants to know the sizes of bodies.
    pub fn measures_sizes(&self) -> bool {
        self.sizes.is_some()
    }

    /// Counts an exchange; answers whether it had to go with all that there is no room for.
    pub fn measure(&mut self, measurement: &Measurement<'_>) -> bool {
        let Measurement { subject, nanos, now, exemplar } = *measurement;
        let since = *self.since.get_or_insert(now.saturating_sub(nanos));
        self.is_fresh = true;
        let mut key = std::mem::take(&mut self.scratch);
        key.truncate(0);
        identity::write(&mut key, self.durations.attributes_field(), &subject);
        let slot = self.slot(subject.kind, key.as_slice());
        let is_over = slot.is_none();
        let (durations, sizes) = (&self.durations, &self.sizes);
        let series = match slot {
            Some(slot) => {
                if self.series.get(&slot).is_none() {
                    self.series.insert(
                        slot,
                        Series::new(subject.kind, key.as_slice().to_vec(), since, durations, sizes.as_ref()),
                    );
                }
                self.series.get_mut(&slot)
            }
            None => self.overflow.get_mut(index(subject.kind)).map(|overflow| {
                &mut **overflow.get_or_insert_with(|| {
                    let mut attributes = Buffer::default();
                    let field = durations.attributes_field();
                    attributes.attribute(field, key!("otel.metric.overflow"), Value::Bool(true));
                    Box::new(Series::new(subject.kind, attributes.into_vec(), since, durations, sizes.as_ref()))
                })
            }),
        };
        if let Some(series) = series {
            series.duration.count(durations, nanos as f64 / 1e9, exemplar);
            if let (Some([request, response]), Some(shape)) = (&mut series.sizes, sizes) {
                let both = [(request, subject.response.request_size), (response, subject.response.response_size)];
                for (histogram, size) in both {
                    if let Some(size) = size {
                        histogram.count(shape, size as f64, exemplar);
                    }
                }
            }
        }
        self.scratch = key;
        is_over
    }

    /// The table's slot of a set of attributes, taken or free; `None` where there is no room for another.
    fn slot(&self, kind: Kind, key: &[u8]) -> Option<u32> {
        let hash = hash::of(index(kind) as u32, key);
        let slots = (0..PROBES).map(|probe| hash.wrapping_add(probe));
        let is_ours = |series: &Series| series.kind == kind && hash::is_same(&series.attributes, key);
        let slot = slots.map(|slot| (slot, self.series.get(&slot))).find(|(_, found)| found.is_none_or(is_ours));
        slot.filter(|(_, found)| found.is_some() || self.series.len() < self.max_series).map(|(slot, _)| slot)
    }

    /// Counts an exchange that begins; answers the number to give to [`Self::leave`].
    pub fn enter(&mut self, kind: Kind, request: &Request, now: u64) -> usize {
        self.since.get_or_insert(now);
        self.is_fresh = true;
        let mut attributes = Buffer::default();
        identity::of_request(&mut attributes, 7, request);
        let attributes = attributes.into_vec();
        let known = self.active.iter().position(|active| active.kind == kind && active.attributes == attributes);
        // Known methods and schemes make some sixty of them at most.
        let at = known.unwrap_or_else(|| {
            self.active.push(Active { kind, attributes, since: now, value: 0 });
            self.active.len().saturating_sub(1)
        });
        self.change(at, 1);
        at
    }

    /// Takes back what [`Self::enter`] counted.
    pub fn leave(&mut self, at: usize) {
        self.is_fresh = true;
        self.change(at, -1);
    }

    fn change(&mut self, at: usize, by: i64) {
        if let Some(active) = self.active.get_mut(at) {
            active.value = active.value.saturating_add(by);
        }
    }

    /// Whether an interval has passed since the last collection.
    pub fn is_due(&self, now: u64) -> bool {
        self.since.is_some_and(|since| now.saturating_sub(since) >= self.interval || now < since)
    }

    /// Whether there is anything that was not collected yet.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Which writer it is, if that is known already.
    pub fn writer(&mut self) -> &mut Option<i64> {
        &mut self.writer
    }

    /// Tells everything, in portions.
    pub(crate) fn collect(&mut self, now: u64, portion: Portion, sink: Sink<'_>) {
        let writer = self.writer.unwrap_or(0);
        let temporality = match self.temporality {
            Temporality::Cumulative => CUMULATIVE,
            Temporality::Delta => DELTA,
        };
        let all = || self.series.values().chain(self.overflow.iter().flatten().map(|series| &**series));
        let mut write = |shape: &Shape, instrument: &Instrument, of: &dyn Fn(&Series) -> Option<&Histogram>| {
            for kind in [Kind::Server, Kind::Client] {
                let mut points = Points::new(instrument, kind, shape.data_field(), temporality, portion);
                for series in all().filter(|series| series.kind == kind) {
                    let Some(histogram) = of(series) else { continue };
                    points.add(sink, |buf| {
                        let field = shape.attributes_field();
                        buf.put(&series.attributes);
                        buf.int(field, WRITER, Some(writer));
                        histogram.write(buf, shape, Span { start: series.since, end: now });
                    });
                }
                points.flush(sink);
            }
        };
        write(&self.durations, &DURATION, &|series| Some(&series.duration));
        if let Some(shape) = &self.sizes {
            for (n, instrument) in SIZES.iter().enumerate() {
                write(shape, instrument, &|series| series.sizes.as_ref()?.get(n));
            }
        }
        for kind in [Kind::Server, Kind::Client] {
            // What is under way now has no temporality but this one.
            let mut points = Points::new(&ACTIVE, kind, 7, CUMULATIVE, portion);
            for active in self.active.iter().filter(|active| active.kind == kind) {
                points.add(sink, |buf| {
                    buf.put(&active.attributes);
                    buf.int(7, WRITER, Some(writer));
                    buf.fixed64(2, active.since);
                    buf.fixed64(3, now);
                    buf.fixed64(6, active.value as u64);
                });
            }
            points.flush(sink);
        }
        self.since = Some(now);
        self.is_fresh = false;
        match self.temporality {
            Temporality::Cumulative => {
                let overflow = self.overflow.iter_mut().flatten().map(|series| &mut **series);
                self.series.values_mut().chain(overflow).for_each(Series::forget_exemplars);
            }
            Temporality::Delta => {
                self.series = Table::for_about(64);
                self.overflow = [None, None];
            }
        }
    }
}

/// The attribute that tells writers apart.
const WRITER: Key<'static> = key!("otelmesh.writer");

// === impl Series ===

impl Series {
    fn new(kind: Kind, attributes: Vec<u8>, since: u64, durations: &Shape, sizes: Option<&Shape>) -> Self {
        let sizes = sizes.map(|shape| [Histogram::new(shape), Histogram::new(shape)]);
        Self { kind, attributes, since, duration: Histogram::new(durations), sizes }
    }

    fn forget_exemplars(&mut self) {
        self.duration.forget_exemplars();
        self.sizes.iter_mut().flatten().for_each(Histogram::forget_exemplars);
    }
}

/// Data points of one metric, in portions.
struct Points<'a> {
    instrument: &'a Instrument,
    kind: Kind,
    data_field: u32,
    temporality: u64,
    portion: Portion,
    points: Buffer,
    count: u32,
}

// === impl Points ===

impl<'a> Points<'a> {
    fn new(instrument: &'a Instrument, kind: Kind, data_field: u32, temporality: u64, portion: Portion) -> Self {
        Self { instrument, kind, data_field, temporality, portion, points: Buffer::default(), count: 0 }
    }

    fn add(&mut self, sink: Sink<'_>, write: impl FnOnce(&mut Buffer)) {
        self.points.message(1, write);
        self.count = self.count.saturating_add(1);
        if self.count >= self.portion.points.min(MAX_POINTS) || self.points.len() >= self.portion.bytes {
            self.flush(sink);
        }
    }

    /// Hands on the content of a `Metric`.
    fn flush(&mut self, sink: Sink<'_>) {
        if self.count == 0 {
            return;
        }
        let Instrument { name, description, unit } = self.instrument;
        let of = |texts: &[&'static str; 2]| texts.get(index(self.kind)).copied().unwrap_or_default();
        let mut metric = Buffer::default();
        metric.bytes(1, of(name).as_bytes());
        metric.bytes(2, of(description).as_bytes());
        metric.bytes(3, unit.as_bytes());
        metric.message(self.data_field, |buf| {
            buf.put(self.points.as_slice());
            buf.varint(2, self.temporality);
        });
        sink(self.count, metric.as_slice());
        self.points.truncate(0);
        self.count = 0;
    }
}

#[cfg(test)]
mod tests;
