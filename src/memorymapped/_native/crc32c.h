/* SPDX-License-Identifier: MIT
 *
 * CRC32C (Castagnoli), as iSCSI and ext4 have it: reflected, begins with and ends by inverting all bits.
 */
#ifndef MEMORYMAPPED_CRC32C_H
#define MEMORYMAPPED_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MMF_CRC_POLYNOMIAL 0x82F63B78u

static uint32_t mmf_crc_table[8][256];
#if defined(__x86_64__)
static int mmf_crc_by_processor;
#endif

/* Once, before the first use. */
static inline void mmf_crc_start(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? MMF_CRC_POLYNOMIAL : 0);
        mmf_crc_table[0][byte] = crc;
    }
    for (int i = 1; i < 8; i++)
        for (int byte = 0; byte < 256; byte++)
            mmf_crc_table[i][byte] = mmf_crc_table[i - 1][byte] >> 8 ^ mmf_crc_table[0][mmf_crc_table[i - 1][byte] & 255];
#if defined(__x86_64__)
    mmf_crc_by_processor = __builtin_cpu_supports("sse4.2");
#endif
}

#if defined(__x86_64__)
#if defined(__clang__)
#define MMF_HAS_CRC32 __attribute__((target("crc32")))
#else
#define MMF_HAS_CRC32 __attribute__((target("sse4.2")))
#endif
MMF_HAS_CRC32 static inline uint32_t mmf_crc_hardware(uint32_t crc, const char *bytes, size_t size)
{
    uint64_t word, wide = crc;
    for (; size >= 8; bytes += 8, size -= 8) {
        memcpy(&word, bytes, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; size; bytes++, size--)
        crc = __builtin_ia32_crc32qi(crc, (unsigned char)*bytes);
    return crc;
}
#endif

static inline uint32_t mmf_crc_software(uint32_t crc, const char *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes;
    for (; size >= 8; at += 8, size -= 8) {
        crc ^= at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        crc = mmf_crc_table[7][crc & 255] ^ mmf_crc_table[6][crc >> 8 & 255] ^ mmf_crc_table[5][crc >> 16 & 255] ^
              mmf_crc_table[4][crc >> 24] ^ mmf_crc_table[3][at[4]] ^ mmf_crc_table[2][at[5]] ^
              mmf_crc_table[1][at[6]] ^ mmf_crc_table[0][at[7]];
    }
    for (; size; at++, size--)
        crc = crc >> 8 ^ mmf_crc_table[0][(crc ^ *at) & 255];
    return crc;
}

/* Of these bytes behind those whose CRC is `crc` (0: there are none). */
static inline uint32_t mmf_crc32c(uint32_t crc, const char *bytes, size_t size)
{
#if defined(__x86_64__)
    if (mmf_crc_by_processor)
        return ~mmf_crc_hardware(~crc, bytes, size);
#endif
    return ~mmf_crc_software(~crc, bytes, size);
}

#endif
