//! A call that met a failing disk: is it the call's trouble, or this server's?
//!
//! A place that cannot be read is an error of its file, and its program hears of it. A port that fails, or a log that is
//! not written any more, is an error of this server: nobody hears of that. The aggregate is about to go to a server
//! whose port is good, and what was asked is asked there again.

use std::sync::Arc;

use super::Driver;
use crate::service::{Outcome, Reply};

impl Driver {
    /// Takes `outcome`, an error of the disk, to the one who asked, if this server still reads and writes the rest of it.
    pub fn doubt(self: &Arc<Self>, reply: Reply, outcome: Outcome) {
        // A look reads the disk, and whoever brings an answer must not wait.
        self.later(move |driver| {
            let sound = driver.aggregate().check().and_then(|()| driver.aggregate().look());
            let detached = || Err(driver.detached().into());
            reply(sound.map_or_else(|_| detached(), |()| outcome));
        });
    }
}
