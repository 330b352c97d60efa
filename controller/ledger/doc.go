// Package ledger keeps a mesh in one bbolt file: the hash-chained entries, the inventory that they add
// up to, and beside them the vault, whose values can be destroyed.
//
// # What is promised
//
// A change is one transaction, synced to the disk before Append returns: its entry, the objects that it
// changes and the new head, or nothing. Append is a compare-and-set on revision and hash of the head.
//
// Open either gives the data that was written or says that the file is damaged. Before bbolt, which
// trusts its file and maps it into memory, gets to see it, the whole file is read and checked in the
// ordinary way: every page, every pointer, the free list, and the checksum of every value. What is no
// file of ours, empty, cut off or changed by one bit is refused with ErrDamaged; a file is made new only
// where there was none, under another name first, so that an empty one is always damage.
//
// Two records of bbolt say which transaction was the last one, written in turns. bbolt itself goes back
// to the older where the newer is unreadable, which would lose an acknowledged change without a word.
// Here both must be readable: 64 bytes within one sector are not torn by a power cut.
//
// # Free pages
//
// bbolt never writes over a page that is in use: it writes a copy, and the old page, with all that it
// held, becomes free and stays in the file as it is until it is needed. So a value that was deleted, or
// replaced by Put, is still on the disk. Destroy therefore overwrites every free page with zeros after
// it has deleted the value, and Snapshot copies free pages as zeros. What lies below the file is beyond
// this package: a copy-on-write or journaling file system and the spare blocks of a flash disk may keep
// old sectors, and so do backups that were made before.
package ledger
