//! Requests as the domain understands them. Every field of a message is named here, so that a new one cannot be
//! forgotten; every refusal begins with the path of the field.

use clinical::{Biomarker, Finding, Panel, Person, Sex, Unit, cartridge::Cartridge};
use models::family::trend::{Sample, Series};
use proto::manpasik::v1 as wire;
use tonic::Status;

use crate::error::chain;

/// Characters of an identifier or label.
pub(super) const TEXT_CHARS_MAX: usize = 256;
/// Values, findings or series of one request.
const ITEMS_MAX: usize = 256;

/// A refusal that begins with the field.
pub(in crate::server) fn invalid(field: impl std::fmt::Display, reason: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{field}: {reason}"))
}

pub(super) fn person(field: &str, subject: Option<wire::Subject>) -> Result<Person, Status> {
    let Some(wire::Subject { age_years, sex }) = subject else { return Ok(Person::default()) };
    let known = wire::Sex::try_from(sex)
        .map_err(|_| invalid(format!("{field}.sex"), format!("{sex} is no value of Sex")))?;
    let sex = match known {
        wire::Sex::Unspecified => None,
        wire::Sex::Female => Some(Sex::Female),
        wire::Sex::Male => Some(Sex::Male),
    };
    Person::new(age_years, sex).map_err(|error| invalid(format!("{field}.age_years"), error))
}

pub(super) fn panel(panel: wire::Panel) -> Result<Panel, Status> {
    let wire::Panel { subject, observations, findings } = panel;
    few("panel.observations", observations.len())?;
    few("panel.findings", findings.len())?;
    let mut builder = Panel::builder(person("panel.subject", subject)?);
    for (index, observation) in observations.into_iter().enumerate() {
        let wire::Observation { code, value, unit } = observation;
        let field = format!("panel.observations[{index}]");
        let marker = biomarker(&format!("{field}.code"), &code)?;
        let unit = self::unit(&format!("{field}.unit"), &unit)?;
        builder = builder.value(marker, value, unit).map_err(|error| invalid(&field, chain(&error)))?;
    }
    for (index, finding) in findings.into_iter().enumerate() {
        let wire::Finding { code, present } = finding;
        let field = format!("panel.findings[{index}].code");
        let known = Finding::from_code(&code)
            .ok_or_else(|| invalid(&field, format!("`{}` is no finding we know", cut(&code))))?;
        builder = builder.finding(known, present).map_err(|error| invalid(&field, error))?;
    }
    builder.build().map_err(|_| invalid("panel.observations", "is empty: send at least one value"))
}

/// A biomarker by LOINC code or stable name.
pub(super) fn biomarker(field: &str, code: &str) -> Result<Biomarker, Status> {
    Biomarker::from_loinc(code).or_else(|| Biomarker::from_code(code)).ok_or_else(|| {
        let reason = format!("`{}` is neither a LOINC code nor a name we know", cut(code));
        invalid(field, reason)
    })
}

fn unit(field: &str, text: &str) -> Result<Unit, Status> {
    Unit::from_ucum(text).map_err(|error| invalid(field, error))
}

pub(super) fn series(field: &str, series: wire::Series) -> Result<Series, Status> {
    let wire::Series { code, unit, points } = series;
    let marker = biomarker(&format!("{field}.code"), &code)?;
    let unit = self::unit(&format!("{field}.unit"), &unit)?;
    let sample = |wire::SeriesPoint { time_unix_ms, value }| Sample { time_unix_ms, value };
    let samples = points.into_iter().map(sample).collect();
    Series::new(marker, unit, samples).map_err(|error| Status::invalid_argument(format!("{field}.{error}")))
}

/// A sweep of a registered cartridge.
pub(super) struct Sweep {
    pub(super) cartridge: &'static Cartridge,
    pub(super) values: Vec<f32>,
}

pub(super) fn channels(channels: wire::Channels) -> Result<Sweep, Status> {
    let wire::Channels { cartridge_code, values, environment } = channels;
    let cartridge = cartridge("channels.cartridge_code", &cartridge_code)?;
    let environment = environment.unwrap_or_default();
    let wire::Environment { temperature_celsius, humidity_percent, pressure_kilopascal, battery_percent } =
        environment;
    for (name, value) in [
        ("temperature_celsius", temperature_celsius),
        ("humidity_percent", humidity_percent),
        ("pressure_kilopascal", pressure_kilopascal),
        ("battery_percent", battery_percent),
    ] {
        if !value.is_finite() {
            return Err(invalid(format!("channels.environment.{name}"), "is not a finite number"));
        }
    }
    if values.len() != cartridge.channels() {
        let (got, expected) = (values.len(), cartridge.channels());
        return Err(invalid("channels.values", format!("has {got} values, the cartridge has {expected}")));
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(invalid(format!("channels.values[{at}]"), "is not a finite number")),
        None => Ok(Sweep { cartridge, values }),
    }
}

pub(super) fn cartridge(field: &str, code: &str) -> Result<&'static Cartridge, Status> {
    Cartridge::parse(code).map_err(|error| invalid(field, error))
}

/// The analyses asked for; all when none is named.
pub(super) fn analyses(analyses: &[i32]) -> Result<Vec<wire::AnalysisKind>, Status> {
    use wire::AnalysisKind as Kind;
    few("analyses", analyses.len())?;
    let known = |(index, number): (usize, &i32)| {
        let kind = Kind::try_from(*number).ok().filter(|kind| *kind != Kind::Unspecified);
        kind.ok_or_else(|| invalid(format!("analyses[{index}]"), format!("{number} is no analysis")))
    };
    let asked = analyses.iter().enumerate().map(known).collect::<Result<Vec<_>, _>>()?;
    let all = vec![Kind::Biomarker, Kind::Anomaly, Kind::Trend, Kind::HealthScore];
    Ok(if asked.is_empty() { all } else { asked })
}

/// Refuses lists no person's data has.
pub(super) fn few(field: &str, items: usize) -> Result<(), Status> {
    if items <= ITEMS_MAX {
        Ok(())
    } else {
        Err(invalid(field, format!("has {items} entries, at most {ITEMS_MAX}")))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(code: &str, value: f64, unit: &str) -> wire::Panel {
        let observation = wire::Observation { code: code.into(), value, unit: unit.into() };
        wire::Panel { observations: vec![observation], ..Default::default() }
    }

    fn message<T>(result: Result<T, Status>) -> String {
        let status = result.err().expect("refused");
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        status.message().to_owned()
    }

    #[test]
    fn panels_are_read_by_loinc_or_name_in_any_known_unit() {
        for (code, value, unit) in [("2345-7", 99.1, "mg/dL"), ("glucose", 5.5, "mmol/L")] {
            let read = panel(observed(code, value, unit)).expect("valid");
            assert!((read.value(Biomarker::Glucose).unwrap_or(0.0) - 99.1).abs() < 0.1);
        }
    }

    #[test]
    fn refusals_begin_with_the_field() {
        let cases = [
            (observed("mood", 1.0, "1"), "panel.observations[0].code: `mood`"),
            (
                observed("glucose", -5.0, "mg/dL"),
                "panel.observations[0]: field 'glucose' refused: glucose of -5",
            ),
            (observed("glucose", 90.0, "furlong"), "panel.observations[0].unit: unknown unit 'furlong'"),
            (observed("glucose", f64::NAN, "mg/dL"), "panel.observations[0]: "),
            (wire::Panel::default(), "panel.observations: is empty"),
        ];
        for (panel, start) in cases {
            let text = message(self::panel(panel));
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn unknown_numbers_of_enums_are_refused() {
        let subject = wire::Subject { age_years: Some(40.0), sex: 9 };
        assert!(message(person("subject", Some(subject))).starts_with("subject.sex: 9"));
        assert!(message(analyses(&[1, 77])).starts_with("analyses[1]: 77"));
        assert!(message(analyses(&[0])).starts_with("analyses[0]"));
        assert_eq!(analyses(&[]).map(|all| all.len()).ok(), Some(4));
        let old = wire::Subject { age_years: Some(400.0), sex: 0 };
        assert!(message(person("subject", Some(old))).starts_with("subject.age_years: "));
    }

    #[test]
    fn series_and_channels_name_what_is_wrong() {
        let point = |value| wire::SeriesPoint { time_unix_ms: 1, value };
        let of = |points| wire::Series { code: "glucose".into(), unit: "mg/dL".into(), points };
        assert!(message(series("series", of(vec![point(f64::NAN)]))).starts_with("series.points[0].value: "));
        assert!(message(series("series", of(vec![]))).starts_with("series.points: has 0"));
        let sweep =
            |code: &str, values| wire::Channels { cartridge_code: code.into(), values, environment: None };
        assert!(message(channels(sweep("01:01", vec![1.0; 87]))).starts_with("channels.values: has 87"));
        assert!(message(channels(sweep("zz", vec![]))).starts_with("channels.cartridge_code: "));
        let mut values = vec![1.0; 88];
        values[3] = f32::NAN;
        assert!(message(channels(sweep("01:01", values))).starts_with("channels.values[3]: "));
    }
}
