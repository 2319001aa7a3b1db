//! Bars as SVG: so little of it is needed that a crate for it would be more to read.

use std::fmt::Write as _;

/// Bars that belong together.
pub(crate) struct Panel {
    pub(crate) title: String,
    /// What each stands for, and how long it is.
    pub(crate) bars: Vec<(String, f64)>,
}

/// Lengths from `LEAST` to `MOST` are shown, by their logarithm; the axis has a line at each doubling.
const LEAST: f64 = 0.5;
const MOST: f64 = 16.0;

const BAR: f64 = 20.0;
const NAMES: f64 = 110.0;
const AXIS: f64 = 260.0;
const WIDTH: f64 = NAMES + AXIS + 60.0;
const HEAD: f64 = 34.0;

/// `panels`, two in a row; what is 1 is marked.
pub(crate) fn bars(title: &str, panels: &[Panel]) -> String {
    let height = |panel: &Panel| HEAD + BAR * panel.bars.len() as f64 + 26.0;
    let highest = panels.iter().map(height).fold(0.0, f64::max);
    let (wide, high) = (
        2.0 * WIDTH,
        40.0 + highest * panels.len().div_ceil(2) as f64,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" height=\"{high}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{wide}\" height=\"{high}\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"24\" font-size=\"15\">{title}</text>\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        let (left, top) = (WIDTH * (at % 2) as f64, 40.0 + highest * (at / 2) as f64);
        svg += &format!("<g transform=\"translate({left} {top})\">\n");
        draw(&mut svg, panel);
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, panel: &Panel) {
    let bottom = HEAD + BAR * panel.bars.len() as f64;
    let _ = writeln!(
        svg,
        "<text x=\"{NAMES}\" y=\"20\" font-weight=\"bold\">{}</text>",
        panel.title
    );
    let mut mark = LEAST;
    while mark <= MOST {
        let (x, colour) = (place(mark), if mark == 1.0 { "#222" } else { "#ccc" });
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{HEAD}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{colour}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\">{mark}</text>",
            bottom + 14.0
        );
        mark *= 2.0;
    }
    for (at, (name, length)) in panel.bars.iter().enumerate() {
        let top = HEAD + BAR * at as f64;
        let (from, to) = (place(length.min(1.0)), place(length.max(1.0)));
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{from:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{length:.2}</text>",
            NAMES - 8.0,
            top + 14.0,
            top + 3.0,
            (to - from).max(1.0),
            BAR - 6.0,
            if *length <= 1.0 { "#2a9d8f" } else { "#4878a8" },
            to + 5.0,
            top + 14.0,
        );
    }
}

fn place(length: f64) -> f64 {
    NAMES + (length.clamp(LEAST, MOST) / LEAST).log2() / (MOST / LEAST).log2() * AXIS
}
