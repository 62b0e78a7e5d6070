/* The rows of the pages' index, from the lines of log files: one pass over each line, with the checks of an event in it.

   It does nothing that `gathering.add_event` does not do with a decoded event. A line that it does not understand
   completely (which no program of this package writes, and few others) is odd: whoever asks then decodes that line. So it
   decides in one direction only. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../analysis/query/_line_text.h"

enum { ERROR = 1, WARNING = 2, STATE = 4, FULL_STATE = 8, SENT = 16, RECEIVED = 32 }; /* as in columns.py */
enum { MOST_KIND = UINT16_MAX };
enum { FAILED = -1, ODD = 0, FINE = 1 }; /* what became of a line */

static const int64_t NO_TICK = INT64_MIN, MOST_TICK = (int64_t)1 << 62;
static const double LONGEST_MS = 1e12, MOST_MS = 1e15, MOST_NUMBER = 9.2e18;

/* ---- the keys that are looked for, in the order in which they are recorded ---- */

typedef struct {
    const char *name;
    int length;
} Key;
#define KEY(name) {name, sizeof name - 1}

enum { SESSION_ID, LEVEL, LOGGER, MESSAGE, RUN_ID, SPAN_ID, PARENT_SPAN_ID, CAUSES, TICK, HLC, EXTRA, CODE, STATE_SET, TYPES,
       TYPE, TIMESTAMP, ID, SCHEMA_VERSION, OUTER_KEYS };
static const Key OUTER[OUTER_KEYS] = {
    KEY("session_id"), KEY("level"), KEY("logger"), KEY("message"), KEY("run_id"), KEY("span_id"), KEY("parent_span_id"),
    KEY("causes"), KEY("tick"), KEY("hlc"), KEY("extra"), KEY("code"), KEY("state"), KEY("types"),
    KEY("type"), KEY("timestamp"), KEY("id"), KEY("schema_version"),
};
enum { AGENT_ID, AGENT_ROLE, EVENT_TYPE, ERROR_ID, DURATION_MS, DIRECTION, MESSAGE_ID, SENDER, RECIPIENT, INNER_KEYS };
static const Key INNER[INNER_KEYS] = {
    KEY("agent_id"), KEY("agent_role"), KEY("event_type"), KEY("error_id"), KEY("duration_ms"), KEY("direction"),
    KEY("message_id"), KEY("sender"), KEY("recipient"),
};
enum { SET, UNSET, CHANGE_KEYS };
static const Key CHANGE[CHANGE_KEYS] = {KEY("set"), KEY("unset")};

/* A value as it is written; `at` is NULL where there is none. */
typedef struct {
    const char *at, *end;
} Value;

typedef struct {
    Head head;
    Value outer[OUTER_KEYS], inner[INNER_KEYS];
} Line;

static int is_null(Value value) { return value.at == NULL || *value.at == 'n'; }

static int is_text(Value value) { return value.at != NULL && *value.at == '"'; }

/* What is between the quotes of a text. */
static int64_t length_of(Value value) { return value.end - value.at - 2; }

static int equals(Value value, const char *text) {
    int64_t length = (int64_t)strlen(text);
    return length_of(value) == length && memcmp(value.at + 1, text, (size_t)length) == 0;
}

static int begins(Value value, const char *text) {
    int64_t length = (int64_t)strlen(text);
    return length_of(value) >= length && memcmp(value.at + 1, text, (size_t)length) == 0;
}

/* A text without escapes, whose bytes are the text itself. */
static int is_plain(Value value) { return memchr(value.at, '\\', (size_t)(value.end - value.at)) == NULL; }

static int is_whole(Value value) {
    int whole = 0;
    return (*value.at == '-' || (*value.at >= '0' && *value.at <= '9')) && value.end - value.at <= MOST_DIGITS &&
           number_end(value.at, value.end, &whole) != NULL && whole;
}

/* Keys mostly come in the order of the list: the search begins behind the last that was found. */
static int key_at(const Key *keys, int count, const char *key, int64_t length, int *next) {
    for (int step = 0, at = *next; step < count; step++, at = at + 1 == count ? 0 : at + 1)
        if (keys[at].length == length && memcmp(keys[at].name, key, (size_t)length) == 0) {
            *next = at + 1 == count ? 0 : at + 1;
            return at;
        }
    return -1;
}

/* Whether the numbers of a payload are ones that any event may have: others are damage in some kinds. */
static int is_usual(const char *key, int64_t length, Value value) {
    double number;
    if (*value.at != '-' && (*value.at < '0' || *value.at > '9')) return 1;
    int64_t size = value.end - value.at;
    if (size <= 15 && memchr(value.at, 'e', (size_t)size) == NULL && memchr(value.at, 'E', (size_t)size) == NULL) return 1;
    if (!double_of(value.at, value.end, &number)) return 0;
    return fabs(number) <= (length > 3 && memcmp(key + length - 3, "_ms", 3) == 0 ? MOST_MS : MOST_NUMBER);
}

/* The members of an object, from behind its bracket; where it ends, or NULL where it is odd. */
static const char *members(const char *at, const char *end, const Key *keys, int count, Value *found, Line *line) {
    int next = 0;
    if (at < end && *at == '}') return at + 1;
    for (;;) {
        int escaped = 0;
        if (at >= end || *at != '"') return NULL;
        const char *key = at + 1;
        if ((at = text_end(key, end, &escaped)) == NULL || escaped || end - at < 3 || at[1] != ':') return NULL;
        int64_t length = at - key;
        Value value = {.at = at + 2};
        int known = key_at(keys, count, key, length, &next);
        if (known >= 0 && found[known].at != NULL) return NULL; /* twice */
        if (keys == OUTER && known == EXTRA)
            value.end = *value.at == '{' ? members(value.at + 1, end, INNER, INNER_KEYS, line->inner, line) : NULL;
        else value.end = value_end(value.at, end);
        if (value.end == NULL || value.end >= end) return NULL;
        if (keys == INNER && !is_usual(key, length, value)) return NULL;
        if (known >= 0) found[known] = value;
        at = value.end;
        if (*at == '}') return at + 1;
        if (*at++ != ',') return NULL;
    }
}

/* Whether all values of a list or an object are texts. */
static int holds_texts(Value value, char bracket) {
    int escaped;
    const char *at = value.at;
    if (*at != bracket) return 0;
    for (at++; *at != ']' && *at != '}'; at++) {
        if (bracket == '{') at = text_end(at + 1, value.end, &escaped) + 2; /* behind the colon */
        if (*at != '"') return 0;
        at = text_end(at + 1, value.end, &escaped) + 1;
        if (*at != ',') break;
    }
    return 1;
}

static int is_state_change(Value value) {
    Value change[CHANGE_KEYS] = {0};
    if (*value.at != '{' || members(value.at + 1, value.end, CHANGE, CHANGE_KEYS, change, NULL) == NULL) return 0;
    return (change[SET].at == NULL || *change[SET].at == '{') && (change[UNSET].at == NULL || holds_texts(change[UNSET], '['));
}

/* ---- marks ---- */

static uint32_t crc_of[256];

static void make_crc(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; bit++) rest = rest & 1 ? rest >> 1 ^ 0xEDB88320u : rest >> 1;
        crc_of[byte] = rest;
    }
}

/* zlib's crc32, of the bytes from the first to the last, or the other way round. */
static uint32_t crc32_of(const char *at, int64_t length, int is_reversed) {
    uint32_t rest = 0xFFFFFFFFu;
    for (int64_t n = 0; n < length; n++) rest = rest >> 8 ^ crc_of[(rest ^ (unsigned char)at[is_reversed ? length - 1 - n : n]) & 0xFF];
    return rest ^ 0xFFFFFFFFu;
}

static uint32_t mark_of(Value text) { return crc32_of(text.at + 1, length_of(text), 0); }

/* ---- the numbers of texts ---- */

enum { SLOTS = 1024 };

/* The dictionary that numbers texts, and those that it was asked for last. */
typedef struct {
    PyObject *names;
    struct {
        PyObject *text;
        const char *bytes;
        Py_ssize_t length;
        long number;
    } slot[SLOTS];
} Table;

enum { AGENTS, KINDS, WRITERS, PARTIES, TABLES };

static long number_of(Table *table, const char *at, int64_t length) {
    uint32_t hash = 2166136261u;
    for (int64_t n = 0; n < length; n++) hash = (hash ^ (unsigned char)at[n]) * 16777619u;
    hash = (hash ^ hash >> 16) % SLOTS;
    if (table->slot[hash].text != NULL && table->slot[hash].length == length && memcmp(table->slot[hash].bytes, at, (size_t)length) == 0)
        return table->slot[hash].number;
    PyObject *text = PyUnicode_DecodeUTF8(at, (Py_ssize_t)length, NULL);
    if (text == NULL) return -1;
    PyObject *found = PyObject_GetItem(table->names, text);
    long number = found == NULL ? -1 : PyLong_AsLong(found);
    Py_XDECREF(found);
    Py_ssize_t size;
    const char *bytes = number < 0 ? NULL : PyUnicode_AsUTF8AndSize(text, &size);
    if (bytes == NULL) {
        Py_DECREF(text);
        return -1;
    }
    Py_XDECREF(table->slot[hash].text);
    table->slot[hash].text = text;
    table->slot[hash].bytes = bytes;
    table->slot[hash].length = size;
    table->slot[hash].number = number;
    return number;
}

/* ---- the columns ---- */

enum { T_US, WRITER, SEQ, ROW_TICK, SOURCE, OFFSET, SPAN, PARENT, AGENT, KIND, FLAGS, DURATION_US, EVENT_COLUMNS };
enum { MESSAGE_PLACE = EVENT_COLUMNS, MESSAGE_KEY, MESSAGE_PARTY, MESSAGE_COLUMNS, LINK_PLACE = MESSAGE_COLUMNS, LINK_KEY, COLUMNS };
static const int WIDTH[COLUMNS] = {8, 4, 8, 8, 4, 8, 4, 4, 4, 2, 1, 4, 8, 8, 4, 8, 4};

typedef struct {
    char *data;
    int64_t used, room;
} Growing;

typedef struct {
    PyObject_HEAD
    PyObject *roles;
    Table table[TABLES];
    int schema;
    Growing column[COLUMNS];
} RowsObject;

static int put(RowsObject *self, int column, const void *value) {
    Growing *to = &self->column[column];
    if (to->used + WIDTH[column] > to->room) {
        int64_t room = to->room ? 2 * to->room : 4096;
        char *bigger = PyMem_Realloc(to->data, (size_t)room);
        if (bigger == NULL) return PyErr_NoMemory() != NULL;
        to->data = bigger;
        to->room = room;
    }
    memcpy(to->data + to->used, value, (size_t)WIDTH[column]);
    to->used += WIDTH[column];
    return 1;
}

static int put_link(RowsObject *self, int64_t place, const char *at, int64_t length) {
    uint32_t key = crc32_of(at, length, 0);
    return put(self, LINK_PLACE, &place) && put(self, LINK_KEY, &key);
}

static int put_message(RowsObject *self, int64_t place, Value id, Value other) {
    uint64_t key = (uint64_t)mark_of(id) << 32 | crc32_of(id.at + 1, length_of(id), 1);
    long number = is_text(other) ? number_of(&self->table[PARTIES], other.at + 1, length_of(other)) : -1;
    if (number < 0 && PyErr_Occurred()) return 0;
    int32_t party = (int32_t)number;
    return put(self, MESSAGE_PLACE, &place) && put(self, MESSAGE_KEY, &key) && put(self, MESSAGE_PARTY, &party);
}

/* Whether the envelope is that of an event, by all that its decoder asks for, and nothing in it is written in another way. */
static int is_event(Line *line) {
    static const int TEXTS[] = {SESSION_ID, LEVEL, LOGGER, MESSAGE}, OPTIONAL[] = {RUN_ID, SPAN_ID, PARENT_SPAN_ID, CODE},
                     ELSEWHERE[] = {TYPE, TIMESTAMP, ID, SCHEMA_VERSION}, WHOLE[] = {TICK, HLC},
                     PLAIN[] = {AGENT_ID, AGENT_ROLE, EVENT_TYPE, ERROR_ID, DIRECTION, MESSAGE_ID, SENDER, RECIPIENT};
    Value *outer = line->outer, *inner = line->inner;
    if (outer[EXTRA].at == NULL) return 0;
    for (int n = 0; n < 4; n++) {
        if (outer[TEXTS[n]].at != NULL && !is_text(outer[TEXTS[n]])) return 0;
        if (!is_null(outer[OPTIONAL[n]]) && !is_text(outer[OPTIONAL[n]])) return 0;
        if (outer[ELSEWHERE[n]].at != NULL) return 0;
    }
    for (int n = 0; n < 2; n++)
        if (!is_null(outer[WHOLE[n]]) && !is_whole(outer[WHOLE[n]])) return 0;
    for (int n = 0; n < 8; n++)
        if (is_text(inner[PLAIN[n]]) && !is_plain(inner[PLAIN[n]])) return 0;
    static const int MARKED[] = {LEVEL, SPAN_ID, PARENT_SPAN_ID, CAUSES};
    for (int n = 0; n < 4; n++)
        if (outer[MARKED[n]].at != NULL && !is_plain(outer[MARKED[n]])) return 0;
    if (!is_null(outer[STATE_SET]) && !is_state_change(outer[STATE_SET])) return 0;
    if (!is_null(outer[TYPES]) && !holds_texts(outer[TYPES], '{')) return 0;
    if (outer[CAUSES].at != NULL && !holds_texts(outer[CAUSES], '[')) return 0;
    if (inner[EVENT_TYPE].at != NULL && !is_text(inner[EVENT_TYPE])) return 0;
    /* what the account of numbers is told is in events of such a kind */
    if (is_text(inner[EVENT_TYPE]) && begins(inner[EVENT_TYPE], "log.")) return 0;
    return 1;
}

static int duration_of(const Line *line, float *duration_us) {
    Value taken = line->inner[DURATION_MS];
    double ms;
    *duration_us = 0;
    if (is_null(line->outer[SPAN_ID]) || taken.at == NULL) return 1;
    if (is_text(taken)) return 0;
    if (*taken.at != '-' && (*taken.at < '0' || *taken.at > '9')) return 1;
    if (*taken.at == '-') return 1; /* none is negative, and 0 is 0 */
    if (!double_of(taken.at, taken.end, &ms)) return 0;
    if (ms < LONGEST_MS) *duration_us = (float)(ms * 1000);
    return 1;
}

static int tick_of(const Line *line, int64_t *tick) {
    Value value = line->outer[TICK];
    *tick = NO_TICK;
    if (is_null(value)) return 1;
    int is_negative = *value.at == '-';
    if (value.end - value.at - is_negative > MOST_DIGITS) return 0;
    int64_t found = 0;
    for (const char *at = value.at + is_negative; at < value.end; at++) found = found * 10 + *at - '0';
    *tick = is_negative ? -found : found;
    return found < MOST_TICK;
}

/* The line as a row; nothing is put of an odd one. */
static int take_line(RowsObject *self, const char *at, const char *end, uint32_t source, int64_t offset, int64_t place) {
    Line line = {0};
    if (!read_head(at, end, self->schema, &line.head) || line.head.version != self->schema) return ODD;
    if (members(line.head.rest, end, OUTER, OUTER_KEYS, line.outer, &line) != end || !is_event(&line)) return ODD;
    Value *outer = line.outer, *inner = line.inner;
    float duration_us;
    int64_t tick;
    if (!duration_of(&line, &duration_us) || !tick_of(&line, &tick)) return ODD;
    Value kind = inner[EVENT_TYPE], level = outer[LEVEL];
    int is_message = kind.at != NULL && equals(kind, "agent_message"), is_sent = is_text(inner[DIRECTION]) && begins(inner[DIRECTION], "sen");
    if (is_message && !is_null(inner[MESSAGE_ID]) && !is_text(inner[MESSAGE_ID])) return ODD;
    uint8_t flags = 0;
    if (kind.at != NULL && equals(kind, "error")) flags |= ERROR;
    else if (level.at != NULL && (equals(level, "ERROR") || equals(level, "CRITICAL")) && is_null(inner[ERROR_ID])) flags |= ERROR;
    else if (level.at != NULL && equals(level, "WARNING")) flags |= WARNING;
    if (!is_null(outer[STATE_SET]) || (kind.at != NULL && equals(kind, "state_change"))) flags |= STATE;
    if (kind.at != NULL && (equals(kind, "state") || equals(kind, "checkpoint"))) flags |= FULL_STATE;
    if (is_message) flags |= is_sent ? SENT : RECEIVED;

    long number = kind.at == NULL ? number_of(&self->table[KINDS], "log", 3) : number_of(&self->table[KINDS], kind.at + 1, length_of(kind));
    long writer = number_of(&self->table[WRITERS], line.head.id, 8);
    long who = is_text(inner[AGENT_ID]) ? number_of(&self->table[AGENTS], inner[AGENT_ID].at + 1, length_of(inner[AGENT_ID])) : 0;
    if (number < 0 || writer < 0 || who < 0) return FAILED;
    if (is_text(inner[AGENT_ROLE])) {
        PyObject *agent = PyLong_FromLong(who), *role = PyUnicode_DecodeUTF8(inner[AGENT_ROLE].at + 1, length_of(inner[AGENT_ROLE]), NULL);
        int failed = agent == NULL || role == NULL || PyObject_SetItem(self->roles, agent, role) < 0;
        Py_XDECREF(agent);
        Py_XDECREF(role);
        if (failed) return FAILED;
    }
    for (const char *cause = outer[CAUSES].at; cause != NULL && *cause != ']' && cause[1] != ']';) {
        int escaped;
        const char *closing = text_end(cause + 2, outer[CAUSES].end, &escaped);
        if (!put_link(self, place, cause + 2, closing - cause - 2)) return FAILED;
        cause = closing + 1;
    }
    if (is_text(inner[ERROR_ID]) && !put_link(self, place, inner[ERROR_ID].at + 1, length_of(inner[ERROR_ID]))) return FAILED;
    if (is_message && !is_null(inner[MESSAGE_ID]) && !put_message(self, place, inner[MESSAGE_ID], inner[is_sent ? RECIPIENT : SENDER]))
        return FAILED;
    uint32_t its_writer = (uint32_t)writer, agent = (uint32_t)who;
    uint16_t its_kind = number < MOST_KIND ? (uint16_t)number : MOST_KIND;
    uint32_t span = is_null(outer[SPAN_ID]) ? 0 : mark_of(outer[SPAN_ID]);
    uint32_t parent = is_null(outer[PARENT_SPAN_ID]) ? 0 : mark_of(outer[PARENT_SPAN_ID]);
    int fine = put(self, T_US, &line.head.us) && put(self, WRITER, &its_writer) && put(self, SEQ, &line.head.seq) &&
               put(self, ROW_TICK, &tick) && put(self, SOURCE, &source) && put(self, OFFSET, &offset) && put(self, SPAN, &span) &&
               put(self, PARENT, &parent) && put(self, AGENT, &agent) && put(self, KIND, &its_kind) && put(self, FLAGS, &flags) &&
               put(self, DURATION_US, &duration_us);
    return fine ? FINE : FAILED;
}

static PyObject *columns_of(RowsObject *self) {
    PyObject *made = PyTuple_New(COLUMNS);
    for (int at = 0; made != NULL && at < COLUMNS; at++) {
        PyObject *bytes = PyBytes_FromStringAndSize(self->column[at].data, (Py_ssize_t)self->column[at].used);
        if (bytes == NULL) Py_CLEAR(made);
        else PyTuple_SET_ITEM(made, at, bytes);
    }
    return made;
}

static PyObject *take(RowsObject *self, PyObject *arguments) {
    Py_buffer lines;
    unsigned int source;
    long long offset, place;
    int is_numbered;
    if (!PyArg_ParseTuple(arguments, "y*ILLp", &lines, &source, &offset, &place, &is_numbered)) return NULL;
    for (int at = 0; at < COLUMNS; at++) self->column[at].used = 0;
    PyObject *odd = PyList_New(0), *made = NULL;
    const char *first = lines.buf, *behind = first + lines.len;
    int failed = odd == NULL;
    for (int64_t number = 0; !failed && first < behind; number++) {
        const char *end = memchr(first, '\n', (size_t)(behind - first));
        if (end == NULL) end = behind;
        int64_t begin = first - (const char *)lines.buf;
        int taken = end == first ? FINE : take_line(self, first, end, source, offset + (is_numbered ? number : begin), place);
        failed = taken == FAILED;
        if (taken == FINE) place += end > first;
        else if (taken == ODD) {
            PyObject *where = Py_BuildValue("LLL", number, begin, (long long)(end - (const char *)lines.buf));
            failed = where == NULL || PyList_Append(odd, where) < 0;
            Py_XDECREF(where);
        }
        first = end + 1;
    }
    PyObject *columns = failed ? NULL : columns_of(self);
    if (columns != NULL) made = PyTuple_Pack(2, columns, odd);
    Py_XDECREF(columns);
    Py_XDECREF(odd);
    PyBuffer_Release(&lines);
    return made;
}

static PyObject *new_rows(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(named)) {
    PyObject *names[TABLES], *roles;
    int schema;
    if (!PyArg_ParseTuple(arguments, "OOOOOi", &names[AGENTS], &names[KINDS], &names[WRITERS], &names[PARTIES], &roles, &schema))
        return NULL;
    RowsObject *self = (RowsObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    for (int at = 0; at < TABLES; at++) self->table[at].names = Py_NewRef(names[at]);
    self->roles = Py_NewRef(roles);
    self->schema = schema;
    return (PyObject *)self;
}

static void free_rows(PyObject *object) {
    RowsObject *self = (RowsObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    for (int at = 0; at < TABLES; at++) {
        Py_XDECREF(self->table[at].names);
        for (int slot = 0; slot < SLOTS; slot++) Py_XDECREF(self->table[at].slot[slot].text);
    }
    for (int at = 0; at < COLUMNS; at++) PyMem_Free(self->column[at].data);
    Py_XDECREF(self->roles);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"take", (PyCFunction)(void (*)(void))take, METH_VARARGS,
     "take(lines, source, offset, place, numbered): the columns of their rows, those of messages and those of links, as bytes; and "
     "(number, begin, end) of each line that is to be decoded. The first row is at `place`; the first line at `offset`, and the "
     "others as many bytes behind it as they are, or, numbered, one number each."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, new_rows},
    {Py_tp_dealloc, free_rows},
    {Py_tp_methods, methods},
    {Py_tp_doc, "Rows(agents, kinds, writers, parties, roles, schema): dictionaries that number texts, and one from agents to roles."},
    {0, NULL},
};

static PyType_Spec spec = {"Agent.view.index._rows.Rows", sizeof(RowsObject), 0, Py_TPFLAGS_DEFAULT, slots};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_rows", .m_size = -1};

PyMODINIT_FUNC PyInit__rows(void) {
    make_crc();
    PyObject *made = PyModule_Create(&module);
    if (made == NULL) return NULL;
    PyObject *type = PyType_FromSpec(&spec);
    if (type == NULL || PyModule_AddObject(made, "Rows", type) < 0) {
        Py_XDECREF(type);
        Py_CLEAR(made);
    }
    return made;
}
