//! `models`: goes through the models and says what holds and what does not, and why.
//!
//! `models` shows the sizes that tests run, `models large` the larger ones of our own rules, `models trace` also how
//! each variant goes wrong. The program fails if one turns out otherwise than it must.

use std::process::ExitCode;
use std::time::Instant;

use baton_models::{Model, Outcome, blocks, explore, ownership, space};

/// More states than any of them has: about a gigabyte.
const STATES_MAX: usize = 12_000_000;

fn main() -> ExitCode {
    let word = std::env::args().nth(1).unwrap_or_default();
    let is_traced = word == "trace";
    let as_expected = match word.as_str() {
        "" | "trace" => [
            show("ownership", ownership::cases(), is_traced),
            show("space", space::cases(), is_traced),
            show("blocks", blocks::cases(), is_traced),
        ]
        .into_iter()
        .all(|good| good),
        "large" => {
            let ownership = show("ownership", ownership::large(), false);
            show("blocks", blocks::large(), false) && ownership
        }
        _ => {
            eprintln!("models: {word}: not known; say nothing, large, or trace");
            return ExitCode::from(2);
        }
    };
    if as_expected {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// True if all turned out as they must.
fn show<M: Model>(title: &str, cases: Vec<(&str, M, bool)>, is_traced: bool) -> bool {
    println!("{title}");
    let mut as_expected = true;
    for (name, model, must_hold) in cases {
        let began = Instant::now();
        let outcome = explore(&model, STATES_MAX);
        println!("  {name}: {outcome} [{:.1} s]", began.elapsed().as_secs_f64());
        if let Outcome::Violated { trace, .. } = &outcome
            && is_traced
        {
            for (number, step) in (1..).zip(trace) {
                println!("    {number:2}. {step}");
            }
        }
        if outcome.holds() != must_hold {
            println!("  {name}: must {}", if must_hold { "hold" } else { "be violated" });
            as_expected = false;
        }
    }
    as_expected
}
