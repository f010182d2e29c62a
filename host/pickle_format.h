/* pickle_format.h - the bytes of a pickle.
 *
 * A header of TL_PICKLE_HEADER bytes, one value, and, if the header says so,
 * four bytes with the number of objects that are met more than once. A value
 * is an opcode and what belongs to it, all in order of its first meeting: no
 * value ends, since each says first how much of it follows. Numbers have the
 * order of bytes of the machine; a varint is seven bits a byte, least first.
 *
 * Strings, tables, functions and the like are objects: they are counted from 0
 * in the order of their opcodes, and a REF names one by its number. The
 * opcode of an object that is referred to is marked as shared, afterwards: the
 * reader remembers only those. */
#ifndef TL_PICKLE_FORMAT_H
#define TL_PICKLE_FORMAT_H

#define TL_PICKLE_MAGIC "\x93TL" /* and a byte of version and flag */
#define TL_PICKLE_HEADER 4
#define TL_PICKLE_VERSION 1
#define TL_PICKLE_SHARES 0x80 /* in the version: the four bytes at the end */

enum {
  OP_INT = 0x00,   /* + 0..127: that integer */
  OP_SHORT = 0x80, /* + 0..31: string of that length; + 0x20: shared */
  OP_REF = 0xC0,   /* + 0..31: the object of that number */
  OP_NIL = 0xE0,
  OP_FALSE,
  OP_TRUE,
  OP_INT8, /* an integer in 1, 2, 4, 8 bytes */
  OP_INT16,
  OP_INT32,
  OP_INT64,
  OP_FLOAT32, /* a float that four bytes hold exactly */
  OP_FLOAT64,
  OP_NULL, /* the light userdata NULL, cjson.null */
  OP_REF8, /* a reference, with the number in 1, 2, 4 bytes */
  OP_REF16,
  OP_REF32,
  OP_GLOBALS, /* the table of globals */
  OP_JOIN,    /* in the place of an upvalue: varint function, byte which */
  OP_CLASSED, /* the table that follows has a class: a string, the name of a
                 registered one, or an error class, behind its pairs */

  /* Objects; + 1: shared. */
  OP_STRING = 0xF0, /* varint length, bytes */
  /* Byte count of pairs, pairs; after 255 of them varint, and as many more. */
  OP_MAP = 0xF2,
  OP_LIST = 0xF4,     /* byte count, varint n, n values, pairs as above */
  OP_FUNCTION = 0xF6, /* code, byte count of upvalues, upvalues; the code is
                         4 bytes of length and bytes, or 4 bytes of
                         TL_PICKLE_AGAIN + where that length stands */
  OP_NAMED = 0xF8,    /* string module, string field or nil: itself */
  OP_REDUCED = 0xFA,  /* string class, varint n, values for its restore */
  OP_PORTABLE = 0xFC, /* string name, string module, byte descriptors, value; or
                         TL_PICKLE_MEMORY, varint which descriptor, value */
  OP_ERROR = 0xFE,    /* an error class: string name, varint 0: one of ours;
                         else its ordinal, nil or where its home is as in NAMED,
                         the parent, byte count, pairs */
};

#define TL_PICKLE_SHORTEST 32 /* a string of so many bytes is an OP_STRING */
#define TL_PICKLE_PAIRS 255   /* in the first chunk */
#define TL_PICKLE_AGAIN 0x80000000u
#define TL_PICKLE_MEMORY 0xFFu

#endif
