/* SPDX-License-Identifier: MIT
 *
 * What guard.c knows of each view, for those who ask by an address in it.
 */
#ifndef MEMORYMAPPED_VIEWS_H
#define MEMORYMAPPED_VIEWS_H

#include "guard.h"

#include <windows.h>

typedef struct {
    mmf_region region; /* the first: its address is this one's */
    HANDLE file;       /* to be flushed; NULL: none */
    volatile LONG state;
    size_t length;     /* that was asked for */
    int64_t offset;    /* of its first byte in what is mapped */
    int is_own;        /* what is written there nobody else sees */
    uint64_t name;     /* of a section's name; 0: it has none */
    volatile LONG channels; /* that sleeping.c has made of places in it */
} mmf_view;

/* The view of an address, which the caller keeps mapped. NULL: there is none. */
mmf_view *mmf_view_at(uintptr_t address);

/* By sleeping.c, before a view is unmapped. */
void mmf_close_channels(mmf_view *view);

/* What tells objects that are mapped apart, the same in all processes: of a file its volume and its number there, of
 * memory 0 and a number made of its name. `inode` 0: it has no name. */
typedef struct {
    uint64_t device, inode;
} mmf_identity;

uint64_t mmf_name_of(HANDLE section);
void mmf_identify(HANDLE section, mmf_identity *identity);
int mmf_identify_file(HANDLE file, mmf_identity *identity);
int mmf_identify_path(const wchar_t *path, mmf_identity *identity);

/* That of the file of which a view is made at this address; a handle of it. INVALID_HANDLE_VALUE: it is memory, or may
 * not be opened so. */
int mmf_identify_mapped(void *address, mmf_identity *identity);
HANDLE mmf_open_mapped(void *address, DWORD access);

#endif
