//! Each kind of picture with its legend and caption.

use std::fmt::Write as _;

use super::escape;
use super::svg::Canvas;
use crate::evaluate::plots::{Confusion, Curves, Fan, Plot, Scatter};

/// Colours that the style sheet has.
const COLOURS: usize = 6;

/// A figure element; `at` numbers the pictures of the page.
pub(super) fn figure(at: usize, plot: &Plot) -> String {
    let id = format!("plot{at}");
    let drawn = match plot {
        Plot::Curves(plot) => curves(&id, plot),
        Plot::Confusion(plot) => confusion(plot),
        Plot::Scatter(plot) => scatter(&id, plot),
        Plot::Fan(plot) => fan(&id, plot),
    };
    format!(
        "<figure><h3>{}</h3>{drawn}<figcaption>{}</figcaption></figure>\n",
        escape(plot.title()),
        escape(plot.caption())
    )
}

fn curves(id: &str, plot: &Curves) -> String {
    let whiskers = plot.series.iter().flat_map(|series| {
        series.points.iter().zip(&series.whiskers).flat_map(|(p, w)| [(p.0, w.0), (p.0, w.1)])
    });
    let points = plot.series.iter().flat_map(|series| series.points.iter().copied()).chain(whiskers);
    let mut canvas = Canvas::over(&plot.x, &plot.y, points);
    if plot.diagonal {
        canvas.diagonal();
    }
    for (at, series) in plot.series.iter().enumerate().rev() {
        let class = format!("s{}", at % COLOURS);
        for (point, (low, high)) in series.points.iter().zip(&series.whiskers) {
            canvas.line(&format!("{class} whisker"), &[(point.0, *low), (point.0, *high)]);
        }
        canvas.line(&class, &series.points);
        if series.dots {
            series.points.iter().for_each(|point| canvas.dot(&class, *point, 3.0));
        }
    }
    let names = plot.series.iter().map(|series| series.name.as_str());
    canvas.finish(id, &plot.title, &plot.caption)
        + &legend(names.enumerate().map(|(at, name)| (at, "line", name)))
}

fn scatter(id: &str, plot: &Scatter) -> String {
    let levels = plot.levels.iter().flat_map(|level| plot.points.first().map(|point| (point.0, level.y)));
    let mut canvas = Canvas::over(&plot.x, &plot.y, plot.points.iter().copied().chain(levels));
    plot.points.iter().for_each(|point| canvas.dot("s0 faint", *point, 2.0));
    plot.levels.iter().for_each(|level| canvas.level(&level.name, level.y));
    canvas.finish(id, &plot.title, &plot.caption)
}

fn fan(id: &str, plot: &Fan) -> String {
    let lines = [&plot.history, &plot.truth, &plot.median];
    let bounds = plot.bands.iter().flat_map(|band| band.points.iter().flat_map(|p| [(p.0, p.1), (p.0, p.2)]));
    let points = lines.into_iter().flatten().copied().chain(bounds);
    let mut canvas = Canvas::over(&plot.x, &plot.y, points);
    plot.bands.iter().for_each(|band| canvas.band("band", &band.points));
    for (class, line) in [("s5", &plot.history), ("s1", &plot.truth), ("s0", &plot.median)] {
        canvas.line(class, line);
    }
    plot.truth.iter().for_each(|point| canvas.dot("s1", *point, 2.5));
    let names = [(5, "line", "before"), (1, "line", "what came"), (0, "line", "forecast")];
    let bands = plot.bands.iter().map(|band| (0, "area", band.name.as_str()));
    canvas.finish(id, &plot.title, &plot.caption) + &legend(names.into_iter().chain(bands))
}

fn legend<'a>(entries: impl Iterator<Item = (usize, &'static str, &'a str)>) -> String {
    let mut text = String::from(r#"<ul class="legend">"#);
    for (colour, kind, name) in entries {
        let _ = write!(
            text,
            r#"<li><span class="key {kind} k{}"></span>{}</li>"#,
            colour % COLOURS,
            escape(name)
        );
    }
    text + "</ul>"
}

fn confusion(plot: &Confusion) -> String {
    let mut text =
        String::from(r#"<div class="wide"><table class="confusion"><tr><th scope="col">true \ said</th>"#);
    for label in &plot.labels {
        let _ = write!(text, r#"<th scope="col">{}</th>"#, escape(label));
    }
    text.push_str("</tr>");
    for (label, row) in plot.labels.iter().zip(&plot.counts) {
        let all = row.iter().sum::<usize>().max(1) as f64;
        let _ = write!(text, r#"<tr><th scope="row">{}</th>"#, escape(label));
        for count in row {
            let share = *count as f64 / all;
            let _ = write!(
                text,
                r#"<td style="--share:{:.0}%" title="{:.1} % of this row">{count}</td>"#,
                100.0 * share,
                100.0 * share
            );
        }
        text.push_str("</tr>");
    }
    text + "</table></div>"
}
