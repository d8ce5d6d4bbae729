//! The speaker's reasons: at which step each stops a Service, and what to do.

/// Where a reason of the condition `Allocated` belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The object itself.
    Object,
    /// No pool gives it an address.
    Pool,
    /// The address asked for cannot be had.
    Address,
    /// Another machine has the address.
    Wire,
}

/// The stage of a reason of `Allocated`. A reason that is new here is told at the address.
pub(super) fn stage(reason: &str) -> Stage {
    match reason {
        "NoNodePort" | "NodePortTaken" | "SctpNotServed" | "NoPorts" | "InvalidRequest"
        | "SourceInDoubt" => Stage::Object,
        "NoPools"
        | "NoSuchPool"
        | "PoolNotAllowed"
        | "OnRequestOnly"
        | "FamilyNotAvailable"
        | "PoolExhausted"
        | "PoolDraining"
        | "PoolCoolingDown"
        | "QuotaExceeded"
        | "AddressesUnavailable"
        | "DualStackUnavailable" => Stage::Pool,
        "ConflictOnWire" => Stage::Wire,
        _ => Stage::Address,
    }
}

/// What to do about a reason of `Allocated` or `Announced`.
pub(super) fn what_to_do(reason: &str) -> &'static str {
    let known = [about_object, about_pools, about_address, about_announcement];
    known.iter().find_map(|about| about(reason)).unwrap_or("see the message")
}

/// The object itself is to be changed, or the source.
fn about_object(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "NoNodePort" => {
            "write a nodePort into each port of the manifest (behind a directory nobody allocates \
             one), the one that kube-proxy opens on the nodes"
        }
        "NodePortTaken" => {
            "give one of the two Services another nodePort: the one that kube-proxy opens for it"
        }
        "SctpNotServed" => "SCTP is not served: give the Service a TCP or UDP port",
        "NoPorts" => "give the Service a port",
        "InvalidRequest" => "correct the annotation or field that the message names",
        "SourceInDoubt" => "look at the source; if what it says is right: roadstead confirm",
        _ => return None,
    })
}

/// No pool gives an address, or not now.
fn about_pools(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "NoPools" => "add a [[pool]] to the configuration and reload the daemons",
        "NoSuchPool" => "correct the annotation roadstead.io/pool, or add the pool",
        "PoolNotAllowed" => "see `namespaces` and `service_selector` of the pools",
        "OnRequestOnly" => {
            "name the pool in the annotation roadstead.io/pool, or set auto_assign = true"
        }
        "FamilyNotAvailable" | "DualStackUnavailable" => {
            "add addresses of that family to a pool, or change the Service's ipFamilyPolicy"
        }
        "PoolExhausted" => {
            "add addresses to the pool, delete a Service, or let Services share one \
             (annotation roadstead.io/allow-shared-ip, or sharing = \"when-full\" of the pool)"
        }
        "AddressesUnavailable" => {
            "add addresses to the pool, or ask for fewer (annotation roadstead.io/address-count)"
        }
        "QuotaExceeded" => {
            "delete a Service or release a reservation of the namespace, or raise its number in \
             [pool.quota]"
        }
        "PoolDraining" => "name another pool, or take `drain` out of this one",
        "CoolingDown" | "PoolCoolingDown" => {
            "wait: it is given when `cool_down` of the pool is over; or add addresses to the pool"
        }
        _ => return None,
    })
}

/// The address asked for cannot be had.
fn about_address(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "ReservedForAnother" => {
            "ask for another address, or give the reservation up (its [[reservation]] in the \
             configuration, or roadstead release)"
        }
        "ReservationInUse" => "delete the Service that has it, or name another reservation",
        "TooManyReservations" => "roadstead release those that are no longer wanted",
        "NameUnresolved" | "NameWithoutAddress" => {
            "correct the name in roadstead.io/addresses, or its records; this host resolves it anew \
             each minute"
        }
        "NameMoved" => "nothing, or create the Service anew where it is to move",
        "ConflictOnWire" => {
            "find the machine with that MAC address and take the IP address off it, or add the \
             address to `reserved` of its pool"
        }
        "AddressHeld" => "ask for another address, or delete the Service that holds this one",
        "SharingKeyDiffers" => {
            "give both Services the same value in the annotation roadstead.io/allow-shared-ip"
        }
        "PortConflict" => "choose another port, or another address",
        "AddressNotInPool" => "ask for an address inside a pool, or add it to one",
        "AddressReserved" => "ask for another address, or take it out of `reserved`",
        _ => return None,
    })
}

/// There is an address, and it is not announced from here.
fn about_announcement(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "FollowsWriter" => "ask on the host that writes: roadstead status names it",
        "Passive" => {
            "name both hosts in [group] on each of them, or take the cluster out of one's sources"
        }
        "DiskRefuses" => "make room on the disk of the state directory, or mount it writable",
        "Drained" => "roadstead undrain self",
        "NoLeg" => "bring the interface up, or correct `interfaces` of the pool or of [speaker]",
        "RouterSilent" => "systemctl status roadstead-router",
        "FinalizerPending" => {
            "roadstead status, which tells why the cluster is not written to; `roadstead kubeconfig` \
             gives the rights, `report = false` of the [[source]] does without"
        }
        "Probing" => "wait a moment: the address is probed before its first announcement",
        "Withdrawing" => "nothing: the address is being given up",
        _ => return None,
    })
}
