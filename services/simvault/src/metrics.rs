//! What each metric means, in one table: the `# HELP` of `/metrics`. Where a metric is counted is found by its name.

use metrics::{describe_counter, describe_gauge, describe_histogram};

const COUNTERS: [(&str, &str); 55] = [
    ("simvault_events_total", "Entries of the system log, by kind"),
    // SMPP edges.
    ("simvault_smpp_delivered_total", "Messages delivered by the SMSC, by link and answer"),
    ("simvault_smpp_receipts_total", "Delivery receipts, by outcome"),
    ("simvault_smpp_submitted_total", "Messages submitted, by link and outcome"),
    ("simvault_smpp_throttled_total", "Answers ESME_RTHROTTLED and ESME_RMSGQFUL of the SMSC, by link"),
    ("simvault_smpp_link_down_total", "Ends of a bind and failed attempts to bind, by link"),
    ("simvault_smpp_pdus_refused_total", "PDUs of peers that were of no use, by kind"),
    // IP edges.
    ("simvault_ip_connections_total", "Connections of cards accepted"),
    ("simvault_ip_closed_total", "Connections of cards closed, by reason"),
    ("simvault_ip_frames_refused_total", "Frames of cards refused, by reason"),
    ("simvault_ip_messages_total", "Messages of cards received and verified"),
    ("simvault_ip_outcomes_total", "Answers of the inbound data processor, by outcome"),
    ("simvault_ip_messages_dropped_total", "Messages dropped after the last attempt to hand them over"),
    ("simvault_ip_pushed_total", "Messages pushed to cards"),
    ("simvault_ip_launches_total", "Launches by IP answered, by outcome"),
    // Inbound data processor.
    ("simvault_inbound_messages_total", "Messages of cards answered, by outcome"),
    ("simvault_inbound_refused_total", "Messages of cards refused, by reason"),
    ("simvault_inbound_insecure_total", "Messages refused for their security (0x0E), by cause"),
    ("simvault_inbound_proofs_of_receipt_total", "Answers of cards to secured messages, by status"),
    ("simvault_inbound_keys_missing_total", "Secured messages that wait for keys, by cause"),
    ("simvault_inbound_conflicts_total", "Commits that met a newer version and were made again"),
    ("simvault_inbound_dead_letters_total", "Messages that no commit takes, set aside"),
    ("simvault_inbound_parts_expired_total", "Parts of long messages that never became complete"),
    ("simvault_inbound_queue_entries_dropped_total", "Queue entries not passed on, left to the janitor"),
    ("simvault_inbound_error_messages_total", "Error messages to cards"),
    ("simvault_inbound_error_messages_dropped_total", "Error messages to cards that were not passed on"),
    ("simvault_inbound_resynchronisations_total", "Resynchronisations of cards begun"),
    ("simvault_inbound_checksum_mismatches_total", "Cards whose database checksum began to differ"),
    ("simvault_inbound_actions_resumed_total", "Actions that a sign of life of their card resumed"),
    ("simvault_inbound_ip_links_total", "Links of cards by IP asked for, by outcome"),
    ("simvault_inbound_notices_total", "Notices for customer service and error analysis, by kind"),
    ("simvault_inbound_abandoned_total", "Messages that nobody waited for any more, left to be sent again"),
    ("simvault_inbound_parts_refused_total", "Parts of long messages beyond what is kept for one number"),
    // Outbound action processor.
    ("simvault_outbound_launches_total", "Launches, by channel and outcome"),
    ("simvault_outbound_secured_total", "Messages that went as secured packets, by channel"),
    ("simvault_outbound_combined_total", "Acknowledgements that travelled in a message with others"),
    ("simvault_outbound_actions_total", "Actions by what became of them, by state"),
    ("simvault_outbound_janitor_queued_total", "Actions that the janitor put back into the queue, by channel"),
    ("simvault_outbound_reclaimed_total", "Entries taken over from a processor that ended, by channel"),
    ("simvault_outbound_buried_total", "Entries put on the dead-letter list, by channel"),
    ("simvault_outbound_over_budget_total", "Messages held back because a card is over its daily budget"),
    ("simvault_outbound_janitor_failed_total", "Rounds in which the janitor could not look; an alarm when it grows"),
    ("simvault_outbound_unwritten_total", "Outcomes that the store refused to write; an alarm"),
    ("simvault_outbound_damaged_total", "Actions failed because their rows are damaged; an alarm"),
    ("simvault_outbound_left_total", "Looks at what only another release can read, or at cards with a damaged state"),
    ("simvault_outbound_reach_full_total", "Devices without an IP session forgotten early, too many are remembered"),
    // Application server.
    ("simvault_application_rows_removed_total", "Rows removed when their time was over, by what"),
    ("simvault_application_logins_total", "Logins of users, by outcome"),
    // Between the services.
    ("simvault_rpc_connections_refused_total", "gRPC connections refused, too many"),
    ("simvault_stream_results_dropped_total", "Results that nobody waited for any more"),
    ("simvault_stream_messages_total", "Messages carried by streams between services, by replica"),
    ("simvault_stream_failures_total", "Streams between services that broke or fell silent"),
    ("simvault_stream_resent_total", "Messages sent again after their stream ended"),
    ("simvault_stream_unknown_total", "Messages whose stream was lost and that may have arrived, reported as unknown"),
    ("simvault_queue_dead_total", "Queue entries moved to the dead letters, by channel"),
];

const GAUGES: [(&str, &str); 11] = [
    (BUILD_INFO, "1; version and role of this process"),
    ("simvault_rpc_replicas", "Replicas of an endpoint set that are known, by endpoints"),
    ("simvault_rpc_replicas_healthy", "Those that are healthy; an alarm at 0 when some are known"),
    ("simvault_queue_up", "1: Redis answers, 0: it is away"),
    ("simvault_stream_outstanding", "Messages of streams between services that are unanswered, by replica"),
    ("simvault_smpp_link_bound", "1: the link is bound, by link"),
    ("simvault_smpp_event_buffer_messages", "Messages that wait in the event buffer, by link"),
    ("simvault_ip_sessions", "Sessions of cards by IP that are open"),
    ("simvault_outbound_queue_waiting", "Entries that wait in the queue, by channel"),
    ("simvault_outbound_queue_pending", "Entries taken and not finished, by channel"),
    ("simvault_outbound_queue_oldest_seconds", "Age of the oldest entry, by channel"),
];

const HISTOGRAMS: [(&str, &str); 2] = [
    ("simvault_inbound_batch_messages", "Messages of one commit"),
    ("simvault_inbound_commit_seconds", "Time of one commit"),
];

const BUILD_INFO: &str = "simvault_build_info";

/// Describes every metric, and says which program this is. After the recorder is installed.
pub fn describe(role: &'static str) {
    for (name, text) in COUNTERS {
        describe_counter!(name, text);
    }
    for (name, text) in GAUGES {
        describe_gauge!(name, text);
    }
    for (name, text) in HISTOGRAMS {
        describe_histogram!(name, text);
    }
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "role" => role).set(1.0);
}
