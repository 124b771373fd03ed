"""A batch: one letter, many recipients, from one call. How it works, from `send_batch` to the last answer.

- `written.py`: the letter as it is kept, once, and how it is made into one recipient's email, or into the request
  that SES is asked for it: a form with gaps (`ses/form.py`), cut once from what the letter's email would ask. By the
  worker that sends it.
- `queueing.py`: reads any iterable as a stream, a thousand rows at a time, in bounded memory. Each row is checked
  before any of its block is queued: the address, its values. A block is added in one act (batch_add.lua), or not at
  all where some of it stand in the batch already; those are told and left out. Nothing is sent before the list was
  read to its end, so that a bad row, or a producer that dies, costs nobody half a mailing: the same call under the
  same key goes on. Who was queued is known by a digest of the address (8 bytes), so rows may be added, or come in
  another order.
- `batch.py`: what the caller has in hand: how far it is; to pause it, resume it, take it back.
- `sending.py`: a ticket only says that some batch of a lane waits. Its worker takes a chunk (about a hundred
  recipients) of the batch whose turn it is, for two seconds at most, and gives back what is left. Each recipient goes
  the way of every email: `Together.work` where its request can be written from the letter's form, which costs a
  fraction, else `Delivery.work`; both with the throttle, the line, the breaker and the table of SES's errors. Only
  what is written down differs: `ChunkLedger` moves four bits instead of a row. `begin` is the last act before SES is
  asked; there it is asked once more whether the recipient has opted out, the batch is paused, cancelled or expired.
  In the same act it is written down that SES took the one before, so that at most one is ever in doubt. Slots are
  leased several at a time, each with its own moment (`SlotLease`).
  What waits (throttle, quota, a closed line, SES out of reach) makes the batch wait, not the recipient. No clear
  answer, or a refusal, makes a row of the ledger: evidence, the evidence window, `sesmail unknown` and `failed` know
  what to do with it.
- By setting, SES is asked for up to fifty in one call (SendBulkEmail): `AllAtOnce` beside `OneEach`. They share
  one moment of the throttle, one `begin`, and whatever becomes of the call; what SES says of each goes its own way.
- A worker that dies in a chunk: the sweep takes it over under another token, writes whom SES was being asked for as
  `unknown`, and gives the rest back (`Recovery`, sending.py).
- How many tickets there are is asked when they are issued, by the rate that holds then: one for each eight emails a
  second. Batches of a lane share in turns, by weight: a list of fifty does not wait for one of a million.
- An event finds its recipient by the id's number. SES's message ids are not kept: two copies of one email are not
  told from one. `batch_finished` is told when the last has ended, at least once, in most cases once.
- Releases that know no batches leave all of it alone; events of batches must be processed by workers that know them.
"""
