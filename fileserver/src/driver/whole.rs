//! Changes of a fileset as a whole, by the server itself.

use std::sync::Arc;

use baton_aggregate::format::Lsn;
use baton_types::{ClientId, FilesetId, Result};

use super::Driver;

impl Driver {
    /// Has a fileset as a whole changed by `change`, in the name of `client`, and waits until that is durable: nobody
    /// else is shown it before (I5). Files without a name that it brings back are taken apart unless somebody holds
    /// them. May wait.
    ///
    /// # Errors
    /// The change's own; what the log says.
    pub fn change_whole(
        self: &Arc<Self>,
        (fileset, client): (FilesetId, ClientId),
        change: impl FnOnce() -> Result<Lsn>,
    ) -> Result<()> {
        let changed = {
            let _inside = self.door.enter();
            self.sharing.begin(fileset);
            let changed = change();
            let lsn = changed.as_ref().map_or(0, |lsn| lsn.0);
            self.sharing.end(fileset, client, lsn);
            changed?
        };
        self.aggregate().wait(changed)?;
        self.sweep(fileset);
        Ok(())
    }
}
