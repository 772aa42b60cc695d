//! What the daemon asks of a mount, besides what the kernel asks: files come as the kernel's numbers for them.

use std::sync::Arc;
use std::time::Duration;

use baton_rpc::Locator;
use baton_rpc::sessions::Who;
use baton_types::file::MountPoint;
use baton_types::{FileName, FilesetId, Result};

/// A mount, as its daemon sees it. Calls wait for servers, so none comes from a thread that answers the kernel.
pub trait Served: Send + Sync {
    /// The fileset, as the version that is seen, of a file that the kernel knows by `node`.
    ///
    /// # Errors
    /// `Stale` for a number that the kernel does not have from us.
    fn fileset_of(&self, node: u64) -> Result<FilesetId>;

    /// Forgets what is cached of a file; of the root of a fileset, of all that is in it. What no server has yet stays.
    ///
    /// # Errors
    /// `Stale`.
    fn flush(&self, node: u64) -> Result<()>;

    /// The mount point that `name` is in a directory; `None`: it is something else.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `Stale`.
    fn mount_point(&self, who: &Arc<Who>, directory: u64, name: &FileName) -> Result<Option<MountPoint>>;

    /// Makes a mount point, under the caller's rights.
    ///
    /// # Errors
    /// As `mkdir`.
    fn create_mount_point(&self, who: &Arc<Who>, directory: u64, name: &FileName, leads_to: MountPoint) -> Result<()>;

    /// Removes a mount point, under the caller's rights.
    ///
    /// # Errors
    /// As `rmdir`; `Invalid` for what is no mount point.
    fn remove_mount_point(&self, who: &Arc<Who>, directory: u64, name: &FileName) -> Result<()>;

    /// Where filesets, aggregates and servers are.
    fn locator(&self) -> &Arc<Locator>;

    /// A user of this machine has logged in or out: servers are to know him as who he is now.
    fn log_out(&self, uid: u32);

    /// Names of servers that were asked and have not answered for a while.
    fn silent(&self) -> Vec<String>;

    /// Makes the kernel forget all that it holds. For when the connection is about to end.
    fn forget(&self);

    /// Says everything that no server has yet, and gives back what is held. What the kernel asks afterwards is
    /// refused. The second time it does nothing.
    ///
    /// # Errors
    /// `TimedOut` when it has not been said `within` that time, with what is lost.
    fn stop(&self, within: Duration) -> Result<()>;
}
