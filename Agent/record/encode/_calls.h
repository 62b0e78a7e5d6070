/* A traced call and its line where nothing is special: plain arguments and result, a scalar field or none changed, a file
   with room. Part of `_native.c`.

   The same as `traced_function.py`, `traced_call.py`, `pipeline.py` and `writer.py` do without it; a test holds the lines of
   both equal. What is special is left to their methods, at the step where it shows, with what was done so far. */

/* The slots of Python classes that are read and written here, by their place in the object. */
enum { CALL, SCOPE, AGENT, BINDING, SLOT, TRACKER, THREAD, STAMPS, STREAM, SYNCED, OWN_FILE, SEGMENT, LIMIT, HEALTH, HELD,
       BETWEEN, OBJECTS, WRITES, LOOKED, KEPT, KEPT_READS, ADOPTED, RANDOM, SPEC, CODE, PIPELINE, PLACE_OF, STRONG, ADDER, MIRRORS, READER, CLASSES };
static const char *const CLASS_NAMES[CLASSES] = {"Call", "SpanScope", "Known", "AgentBinding", "Slot", "StateTracker",
                                                 "ThreadStamps", "Stamps", "SessionStream", "SyncedStream", "OwnFile", "Segment",
                                                 "Limit", "Health", "HeldObject", "BetweenActions", "HeldObjects",
                                                 "AgentWrites", "_Looked", "_Kept", "Reads", "Adopted", "AdoptedRandom",
                                                 "FunctionFacts", "CodeIdentity", "PipelineSlots", "_Place", "_Strong",
                                                 "Adder", "MirrorsSlots", "FieldReader"};
static PyTypeObject *CLASS[CLASSES];
#define MEMBERS(M)                                                                                                     \
    M(CALL, args_body) M(CALL, binding) M(CALL, board_slot) M(CALL, changeable) M(CALL, held) M(CALL, is_entry) M(CALL, is_probed)   \
    M(CALL, leave) M(CALL, pipeline) M(CALL, reads) M(CALL, root) M(CALL, secrets) M(CALL, span_id) M(CALL, spec)      \
    M(CALL, started_ns) M(CALL, target) M(CALL, token) M(CALL, tracker) M(CALL, types)                                 \
    M(SCOPE, actions) M(SCOPE, agent) M(SCOPE, causes) M(SCOPE, fields) M(SCOPE, links) M(SCOPE, path)                 \
    M(SCOPE, reads) M(SCOPE, run_id) M(SCOPE, secrets) M(SCOPE, span_id) M(SCOPE, tick)                                \
    M(AGENT, binding) M(AGENT, named) M(AGENT, ref) M(AGENT, tracker)                                                  \
    M(BINDING, agent_id) M(BINDING, slots) M(BINDING, stream)                                                          \
    M(SLOT, binding) M(SLOT, extra) M(SLOT, heads) M(SLOT, is_read) M(SLOT, mirror) M(SLOT, written)                   \
    M(TRACKER, _held) M(TRACKER, _ignored) M(TRACKER, _keeping) M(TRACKER, _read) M(TRACKER, _refused)                 \
    M(TRACKER, actions) M(TRACKER, environments) M(TRACKER, failure) M(TRACKER, forms) M(TRACKER, heavy) M(TRACKER, held) M(TRACKER, kept) M(TRACKER, last) M(TRACKER, probed)     \
    M(TRACKER, _agent_of) M(TRACKER, borrowed) M(TRACKER, compared) M(TRACKER, streams) M(TRACKER, watched) M(TRACKER, written_outside)                                               \
    M(THREAD, generation) M(THREAD, last_us) M(THREAD, store)                                                          \
    M(STAMPS, generation) M(STAMPS, look_at_us) M(STAMPS, second)                                                      \
    M(STREAM, _file) M(OWN_FILE, segment) M(SEGMENT, fd) M(SEGMENT, pins) M(SEGMENT, room_bytes) M(LIMIT, value)     \
    M(HEALTH, events) M(HEALTH, unreported)                                                                            \
    M(HELD, _entries) M(HELD, _is_generator) M(HELD, _marks) M(HELD, _names) M(HELD, _refer) M(HELD, _skipped) M(HELD, _version)         \
    M(HELD, is_moving) M(HELD, is_written) M(HELD, last) M(HELD, looks_left) M(HELD, seen_at)                                              \
    M(BETWEEN, _open) M(BETWEEN, objects) M(BETWEEN, writes)                                                           \
    M(OBJECTS, _ended) M(OBJECTS, _known) M(OBJECTS, _moving) M(OBJECTS, has_written) M(OBJECTS, is_settled) M(OBJECTS, is_watching)                         \
    M(WRITES, _compared) M(WRITES, _has_threads) M(WRITES, _is_first) M(WRITES, _is_on) M(WRITES, _is_mixed) M(WRITES, _left) M(WRITES, _looked)                 \
    M(WRITES, _order) M(WRITES, _thread) M(WRITES, is_watching) M(LOOKED, compared) M(LOOKED, fields) M(LOOKED, marks) M(LOOKED, pending)  \
    M(KEPT, looks_left)                                                                                                \
    M(KEPT_READS, at_close) M(KEPT_READS, closed) M(KEPT_READS, environment) M(KEPT_READS, segments) M(KEPT_READS, values)                      \
    M(ADOPTED, owner) M(ADOPTED, segment)                                                                              \
    M(RANDOM, _pipeline) M(RANDOM, _was_seeded) M(RANDOM, key) M(RANDOM, position)                                      \
    M(SPEC, capture_result) M(SPEC, code) M(SPEC, head) M(SPEC, head_root) M(SPEC, is_plain) M(SPEC, label) M(SPEC, slot_key)          \
    M(CODE, tail) M(CODE, tail_unchanged)                                                                              \
    M(PIPELINE, _next_span) M(PIPELINE, board) M(PIPELINE, codes_written) M(PIPELINE, lane) M(PIPELINE, watcher)                            \
    M(PLACE_OF, agent) M(PLACE_OF, identity) M(PLACE_OF, kind) M(PLACE_OF, names) M(STRONG, value) \
    M(ADDER, mirrors) M(ADDER, most) M(ADDER, waiting) M(MIRRORS, _idle) M(READER, names)
#define NUMBER(class, name) class##_##name,
enum { MEMBERS(NUMBER) MEMBER_COUNT };
#define ROW(class, name) {class, #name},
static const struct {
    int class;
    const char *name;
} MEMBER[MEMBER_COUNT] = {MEMBERS(ROW)};
static Py_ssize_t PLACE[MEMBER_COUNT];

/* Words of Python, made once. */
#define WORDS(W)                                                                                                       \
    W(own) W(look) W(drop) W(trouble) W(join_board) W(next_seq) W(writer) W(write) W(_write)   \
    W(refused) W(write_slowly) W(make_room) W(resend) W(lane) W(active) W(open_reads) W(watcher) W(left) W(begins)      \
    W(_look_at_state) W(_look_between) W(_tell_gone) W(ended) W(is_watching) W(plain_body) W(_careful_arguments) W(_args_and_changes) W(_with_result) W(_emit) W(_trouble) W(_state_tail)   \
    W(_note_other_context) W(action_ended) W(codes_written) W(code) W(tail) W(arguments) W(not_recorded) W(agent_id)      \
    W(is_plain) W(is_method) W(names) W(max_plain_args) W(capture_args) W(capture_result) W(label) W(is_action) W(is_async)        \
    W(kind) W(head) W(slot) W(head_root) W(slot_key) W(strict_state) W(level) W(limit) W(link_bytes) W(board) W(table)         \
    W(sync) W(bring_to_disk) W(_next_span) W(__dict__) W(__getattribute__) W(tail_unchanged) W(_changed_tail) W(_with_draws) W(small_field) W(_written) W(admitted) W(redactor)  \
    W(bit_generator) W(_bit_generator) W(seed_seq) W(n_children_spawned) W(capsule) W(gauss_next) W(getrandbits) W(__module__) W(source_player) W(turns) W(is_used) W(outside) W(trigger) W(changed) W(objects) W(writers) W(logger) W(enabled) W(known_keys) W(reads_texts) W(looks_clean) W(is_harmless) W(func) W(args) W(default_factory) W(maxlen) W(queue) W(_queue) W(unfinished_tasks) W(_unfinished_tasks) W(unique_id) W(id) W(name)
#define WORD(name) static PyObject *W_##name;
WORDS(WORD)
#define WORD_ROW(name) {&W_##name, #name},
static const struct {
    PyObject **word;
    const char *text;
} WORD_TABLE[] = {WORDS(WORD_ROW)};
enum { MAX_PATH = 32, HEAVY_BYTES = 4096, MOST_ATTRIBUTES = 200, DURATION_BYTES = 32 };
static PyObject *W_of_changed, *W_of_payload; /* where changed fields stand, and what an event holds */
static PyTypeObject *DEFAULTDICT, *DEQUE;
static PyObject *NO_TUPLE, *NO_TEXT, *NO_BYTES, *NO_ARGUMENTS;
static PyObject *OUTSIDE_KEY; /* of the slot of changes from outside */

static inline PyObject **member(PyObject *object, int number) {
    return (PyObject **)((char *)object + PLACE[number]);
}
#define GET(object, name) (*member(object, name)) /* borrowed; NULL where it was never set */
#define PUT(object, name, value) Py_XSETREF(*member(object, name), value)
#define IS_A(object, number) Py_IS_TYPE(object, CLASS[number])

/* An attribute, a new reference: from its slot where the object is of that class or of one below it. */
static inline PyObject *attribute(PyObject *object, int class, int number, PyObject *name) {
    PyObject *value = CLASS[class] != NULL && PyObject_TypeCheck(object, CLASS[class]) ? *member(object, number) : NULL;
    return value != NULL ? Py_NewRef(value) : PyObject_GetAttr(object, name);
}
#define ATTRIBUTE(object, class, name) attribute(object, class, class##_##name, W_##name)
static int have_not_drawn(PyObject *value, PyObject *present, PyObject *marks, PyObject *position_of);
static int begins_quietly(PyObject *between, PyObject *held);
static int ended_quietly(PyObject *between, PyObject *held, PyObject *own, PyObject *writer);
typedef struct Lane Lane;
static PyObject *body_of_reads(Lane *lane, PyObject *reads);
static PyObject *tail_with_draws(Lane *lane, PyObject *tracker, PyObject *fields, PyObject *tail);
enum { NOT_HERE = 0, TOLD = 1 };
static int tell_outside(Lane *lane, PyObject *known, PyObject *target, PyObject *only, int are_written, int is_ahead);
static PyObject *lane_tell_outside(Lane *lane, PyObject *const *arguments, Py_ssize_t count);

/* learn(classes): where the slots of these classes are, by name; a class that has other slots raises TypeError. */
static PyObject *learn(PyObject *Py_UNUSED(module), PyObject *classes) {
    for (int i = 0; i < CLASSES; i++) {
        PyObject *found = PyDict_Check(classes) ? PyDict_GetItemString(classes, CLASS_NAMES[i]) : NULL;
        if (found == NULL) continue;
        for (int j = 0; j < MEMBER_COUNT; j++) {
            if (MEMBER[j].class != i) continue;
            PyObject *descriptor = PyType_Check(found) ? PyDict_GetItemString(((PyTypeObject *)found)->tp_dict, MEMBER[j].name) : NULL;
            if (descriptor == NULL || !Py_IS_TYPE(descriptor, &PyMemberDescr_Type)
                || ((PyMemberDescrObject *)descriptor)->d_member->type != T_OBJECT_EX)
                return PyErr_Format(PyExc_TypeError, "%s has no slot %s", CLASS_NAMES[i], MEMBER[j].name);
            PLACE[j] = ((PyMemberDescrObject *)descriptor)->d_member->offset;
        }
        Py_XSETREF(CLASS[i], (PyTypeObject *)Py_NewRef(found));
    }
    Py_RETURN_NONE;
}

struct Lane {
    PyObject_HEAD
    int has_own_clock; /* whether the clocks are those of the system, which need no call of Python */
    Judge *judge;
    PyObject *sink, *wall_ns, *monotonic_ns, *stamps, *threads, *begin_second, *health, *emit, *read, *report_drops, *no_room;
    PyObject *scope, *room_error, *write_globals;
    PyObject *pipeline, *known, *gone, *between, *probe; /* of its agents */
    PyObject *plain_read; /* the function that reads a state which is what an object's `__dict__` holds */
    PyObject *set_item; /* `operator.setitem`, by which numbers are stored on the board */
    PyObject *holder; /* takes the lines of calls in the place of `put`; NULL where nobody does */
    long long state_period, entry_looks, probes;
    int strict_state;
    PyObject *own; /* what `threads` has for the thread of the last event; NULL before the first */
    uint64_t own_thread;
    PyObject *store; /* what stored the number of the last event */
    PyMemoryViewObject *words; /* of the board, and which of them it stores in; NULL where it does so elsewhere */
    Py_ssize_t word;
    PyObject *board, *free, *indices; /* NULL until a span is opened on it */
    Py_buffer table;
    long long base, spans_at_bytes, span_slots;
};

/* `PyLong_AsLongLong`, which goes by way of bytes where a number has two digits, as a time in microseconds or an address has. */
static inline long long as_number(PyObject *value) {
#if PY_VERSION_HEX < 0x030C0000
    if (value != NULL && PyLong_CheckExact(value) && Py_SIZE(value) == 2) {
        const digit *digits = ((PyLongObject *)value)->ob_digit;
        return (long long)digits[1] << PyLong_SHIFT | digits[0];
    }
#endif
    return PyLong_AsLongLong(value);
}

/* Nanoseconds of a clock of the lane; -1 with an exception where it raised one. */
static long long read_clock(const Lane *lane, PyObject *clock, int number) {
#ifdef __linux__
    struct timespec now;
    if (lane->has_own_clock && clock_gettime(number, &now) == 0) return now.tv_sec * 1000000000LL + now.tv_nsec;
#endif
    PyObject *told = PyObject_CallNoArgs(clock);
    long long found = told == NULL ? -1 : as_number(told);
    Py_XDECREF(told);
    return found;
}
#ifdef __linux__
enum { WALL_CLOCK = CLOCK_REALTIME, MONOTONIC_CLOCK = CLOCK_MONOTONIC };
#else
enum { WALL_CLOCK, MONOTONIC_CLOCK };
#endif
#define WALL_NS(lane) read_clock(lane, (lane)->wall_ns, WALL_CLOCK)
#define MONOTONIC_NS(lane) read_clock(lane, (lane)->monotonic_ns, MONOTONIC_CLOCK)

/* Whether clocks are `time.time_ns` and `time.perf_counter_ns`. */
static int are_clocks_of_system(PyObject *wall_ns, PyObject *monotonic_ns) {
#ifndef __linux__
    return 0; /* `perf_counter_ns` may be another clock there */
#else
    PyObject *module = PyImport_ImportModule("time"), *wall = NULL, *monotonic = NULL;
    if (module != NULL) wall = PyObject_GetAttrString(module, "time_ns");
    if (wall != NULL) monotonic = PyObject_GetAttrString(module, "perf_counter_ns");
    int are_own = wall == wall_ns && monotonic == monotonic_ns && PyCFunction_Check(wall_ns) && PyCFunction_Check(monotonic_ns);
    Py_XDECREF(module);
    Py_XDECREF(wall);
    Py_XDECREF(monotonic);
    PyErr_Clear();
    return are_own;
#endif
}

static PyObject *joined(const Part *parts, int count) {
    Py_ssize_t size = 0;
    for (int i = 0; i < count; i++) size += parts[i].size;
    PyObject *whole = PyBytes_FromStringAndSize(NULL, size);
    if (whole == NULL) return NULL;
    char *at = PyBytes_AS_STRING(whole);
    for (int i = 0; i < count; i++) at = put_bytes(at, parts[i].bytes, parts[i].size);
    return whole;
}

/* ---- a line ---- */

/* What a signal handler raises, as KeyboardInterrupt, may come out of any call of Python code. It is kept until an event
   that has its number is written: 1; 0 where nothing is kept. */
static int put_off(PyObject **kept) {
    if (kept[0] != NULL || PyErr_ExceptionMatches(PyExc_Exception)) return 0;
    PyErr_Fetch(&kept[0], &kept[1], &kept[2]);
    return 1;
}

/* The file of a stream that is written to here; a `SyncedStream` has the slots of its base. */
static PyObject *file_of(PyObject *stream) {
    return IS_A(stream, STREAM) || IS_A(stream, SYNCED) ? GET(stream, STREAM__file) : NULL;
}

/* `write` of both streams for a segment with room; every other stream writes by itself. 1, 0 if it was not written, -1.
   What a handler raises while a line that is written is brought to the disk is kept. */
static int write_line(Lane *lane, PyObject *stream, PyObject *line, PyObject **kept) {
    PyObject *file = file_of(stream);
    int is_synced = IS_A(stream, SYNCED);
    PyObject *segment = file != NULL && IS_A(file, OWN_FILE) ? GET(file, OWN_FILE_segment) : NULL;
    PyObject *answer = NULL, *room = segment != NULL && IS_A(segment, SEGMENT) ? GET(segment, SEGMENT_room_bytes) : NULL;
    long long left = room == NULL ? -1 : as_number(room) - PyBytes_GET_SIZE(line);
    PyObject *pins = room == NULL ? NULL : GET(segment, SEGMENT_pins), *fd = room == NULL ? NULL : GET(segment, SEGMENT_fd);
    if (left < 0 || PyErr_Occurred() || pins == NULL || fd == NULL || !PyList_CheckExact(pins)) {
        if (PyErr_Occurred()) return -1;
        answer = PyObject_CallMethodOneArg(stream, W_write, line);
    } else {
        /* Nobody else runs until the system call, so that the segment is still the file's when it is pinned. */
        PyObject *write = PyDict_GetItemWithError(lane->write_globals, W__write), *after = PyLong_FromLongLong(left);
        if (write == NULL || after == NULL || PyList_Append(pins, Py_None) < 0) {
            Py_XDECREF(after);
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "the writer has no _write");
            return -1;
        }
        PUT(segment, SEGMENT_room_bytes, after);
        Py_INCREF(segment);
        Py_INCREF(file);
        Py_INCREF(pins);
        Py_INCREF(write);
        Py_INCREF(fd);
        PyObject *arguments[] = {fd, line};
        PyObject *written = PyObject_Vectorcall(write, arguments, 2, NULL);
        Py_ssize_t count = written == NULL ? -1 : PyLong_AsSsize_t(written), last = PyList_GET_SIZE(pins);
        PyObject *kind, *failure, *traceback;
        PyErr_Fetch(&kind, &failure, &traceback);
        int is_whole = count == PyBytes_GET_SIZE(line);
        int popped = last > 0 && !(is_synced && is_whole) ? PyList_SetSlice(pins, last - 1, last, NULL) : 0;
        PyErr_Restore(kind, failure, traceback);
        if (popped == 0 && is_whole && is_synced) {
            answer = PyObject_CallMethodOneArg(stream, W_bring_to_disk, segment); /* takes the pin away */
            if (answer == NULL && put_off(kept)) answer = Py_NewRef(Py_True);
        } else if (popped == 0 && is_whole) {
            answer = Py_NewRef(Py_True);
        } else if (is_synced && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_OSError)) {
            PyErr_Clear(); /* it comes again, to who goes on from there */
            answer = PyObject_CallMethodOneArg(stream, W_write, line);
        } else if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_OSError)) {
            PyErr_Fetch(&kind, &failure, &traceback);
            PyErr_NormalizeException(&kind, &failure, &traceback);
            answer = PyObject_CallMethodObjArgs(file, W_refused, line, segment, failure, NULL);
            Py_XDECREF(kind);
            Py_XDECREF(failure);
            Py_XDECREF(traceback);
        } else if (!PyErr_Occurred()) {
            answer = PyObject_CallMethodOneArg(file, count < 0 ? W_write_slowly : W_resend, line);
            if (is_synced && answer == Py_True) Py_SETREF(answer, PyObject_CallMethodNoArgs(stream, W_sync));
        }
        Py_XDECREF(written);
        Py_DECREF(fd);
        Py_DECREF(write);
        Py_DECREF(pins);
        Py_DECREF(file);
        Py_DECREF(segment);
    }
    int is_written = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return is_written;
}

/* Opens or rolls the file of a line before the line has its number: that is done in Python, where a handler of the program
   may raise. 1; 0 where the system refused; -1. A stream of another class, or a torn file, sees to it as it writes. */
static int make_room(PyObject *stream, const Part *parts, int count) {
    enum { STAMP_BYTES = 96 }; /* the time and the id, with their keys */
    PyObject *file = file_of(stream);
    PyObject *segment = file != NULL && IS_A(file, OWN_FILE) ? GET(file, OWN_FILE_segment) : NULL;
    PyObject *room = segment != NULL && IS_A(segment, SEGMENT) ? GET(segment, SEGMENT_room_bytes) : NULL;
    if (room == NULL) return 1;
    long long needed = STAMP_BYTES;
    for (int i = 0; i < count; i++) needed += parts[i].size;
    if (as_number(room) >= needed) return 1;
    if (PyErr_Occurred()) return -1;
    Py_INCREF(file);
    PyObject *size = PyLong_FromLongLong(needed), *made = size == NULL ? NULL : PyObject_CallMethodOneArg(file, W_make_room, size);
    int answer = made == NULL ? -1 : made != Py_False;
    Py_XDECREF(made);
    Py_XDECREF(size);
    Py_DECREF(file);
    return answer;
}

static PyObject *dropped_event(Lane *lane, const char *reason) {
    PyObject *done = PyObject_CallMethod(lane->health, "drop", "s", reason);
    if (done == NULL) return NULL;
    Py_DECREF(done);
    return Py_NewRef(NO_TEXT);
}

/* A full sink gives no number: `no_room` says what becomes of the event. */
static PyObject *without_room(Lane *lane, PyObject *slot, const Part *parts, int count) {
    PyObject *kind, *full, *traceback, *answer = NULL, *rest = NULL;
    if (!PyErr_ExceptionMatches(lane->room_error)) return NULL;
    PyErr_Fetch(&kind, &full, &traceback);
    PyErr_NormalizeException(&kind, &full, &traceback);
    rest = joined(parts, count);
    if (rest != NULL)
        answer = PyObject_CallFunctionObjArgs(lane->no_room, full, slot, NO_BYTES, NO_BYTES, NO_BYTES, rest, NULL);
    Py_XDECREF(rest);
    Py_XDECREF(kind);
    Py_XDECREF(full);
    Py_XDECREF(traceback);
    return answer;
}

/* The time in microseconds, not before the thread's last; -1 with an exception. */
static long long time_of(Lane *lane, PyObject *thread) {
    long long now_us = WALL_NS(lane);
    if (now_us == -1 && PyErr_Occurred()) return -1;
    long long last_us = as_number(GET(thread, THREAD_last_us));
    if (PyErr_Occurred()) return -1;
    now_us = now_us >= 0 ? now_us / 1000 : -((999 - now_us) / 1000);
    if (now_us < last_us) return last_us;
    PyObject *kept = PyLong_FromLongLong(now_us);
    if (kept == NULL) return -1;
    PUT(thread, THREAD_last_us, kept);
    return now_us;
}

/* Find the place on the board where `Board.thread_slot`, which gave `store`, has a thread's last number stored. 1; 0 where it
   is stored elsewhere. Found once while one thread records, not for each event. */
static int find_store(Lane *lane, PyObject *store) {
    if (store == lane->store) return lane->words != NULL;
    Py_XSETREF(lane->store, Py_NewRef(store));
    Py_CLEAR(lane->words);
    if (strcmp(Py_TYPE(store)->tp_name, "functools.partial") != 0) return 0;
    PyObject *function = PyObject_GetAttr(store, W_func), *given = function == NULL ? NULL : PyObject_GetAttr(store, W_args);
    if (given != NULL && function == lane->set_item && PyTuple_CheckExact(given) && PyTuple_GET_SIZE(given) == 2
        && PyMemoryView_Check(PyTuple_GET_ITEM(given, 0))) {
        PyMemoryViewObject *words = (PyMemoryViewObject *)PyTuple_GET_ITEM(given, 0);
        Py_ssize_t place = PyLong_AsSsize_t(PyTuple_GET_ITEM(given, 1));
        const Py_buffer *view = &words->view;
        lane->word = place;
        if (view->ndim == 1 && view->itemsize == sizeof(uint64_t) && view->format != NULL && strcmp(view->format, "Q") == 0
            && !view->readonly && view->strides[0] == sizeof(uint64_t) && place >= 0 && place < view->shape[0])
            lane->words = (PyMemoryViewObject *)Py_NewRef(words);
    }
    Py_XDECREF(function);
    Py_XDECREF(given);
    PyErr_Clear();
    return lane->words != NULL;
}

/* Whether the last number of a thread was stored on the board as `store` would. */
static int is_stored(Lane *lane, PyObject *store, uint64_t number) {
    if (!find_store(lane, store) || (lane->words->flags & _Py_MEMORYVIEW_RELEASED)
        || (lane->words->mbuf->flags & _Py_MANAGED_BUFFER_RELEASED)) return 0;
    memcpy((char *)lane->words->view.buf + lane->word * (Py_ssize_t)sizeof number, &number, sizeof number);
    return 1;
}

/* What `threads` has for this thread, a new reference: asked once while one thread records, not for each event. */
static PyObject *own_of(Lane *lane) {
    uint64_t thread = PyThreadState_GetID(PyThreadState_Get());
    if (lane->own == NULL || lane->own_thread != thread) {
        PyObject *own = PyObject_GetAttr(lane->threads, W_own);
        if (own == NULL) return NULL;
        lane->own_thread = thread;
        Py_XSETREF(lane->own, own);
    }
    return Py_NewRef(lane->own);
}

/* Add a line to a mirror whose thread is awake and will write it: 1; 0 where Python has to, -1 with an exception. */
static int add_to_mirror(PyObject *adder, PyObject *line) {
    PyObject *mirrors = IS_A(adder, ADDER) ? GET(adder, ADDER_mirrors) : NULL;
    if (mirrors == NULL || !PyObject_TypeCheck(mirrors, CLASS[MIRRORS]) || GET(mirrors, MIRRORS__idle) != Py_False) return 0;
    PyObject *waiting = GET(adder, ADDER_waiting);
    if (!PyList_CheckExact(waiting) || PyList_GET_SIZE(waiting) + 1 >= as_number(GET(adder, ADDER_most))) return 0;
    return PyList_Append(waiting, line) < 0 ? -1 : 1;
}

/* Number, stamp and write one line, as `Pipeline._put`; its id, "" if it was not written. */
static PyObject *put_parts(Lane *lane, PyObject *slot, Part *given, int given_count) {
    PyObject *identity = NULL, *line = NULL, *seq = NULL, *writer = NULL, *second = NULL, *answer = NULL, *stream = NULL;
    PyObject *stamps = lane->stamps, *kept[3] = {NULL}, *thread = own_of(lane);
    if (thread == NULL || !IS_A(thread, THREAD) || !IS_A(slot, SLOT)) goto wrong;
    long long now_us = time_of(lane, thread);
    if (PyErr_Occurred()) goto done;
    if (now_us >= as_number(GET(stamps, STAMPS_look_at_us))) {
        PyObject *is_there = PyObject_CallMethod(stamps, "look", "L", now_us);
        int there = is_there == NULL ? -1 : PyObject_IsTrue(is_there);
        Py_XDECREF(is_there);
        if (there == 0) answer = dropped_event(lane, "the session's directory was removed");
        if (there != 1) goto done;
    }
    long long fraction = now_us % 1000000;
    if (fraction < 0) fraction += 1000000;
    second = Py_NewRef(GET(stamps, STAMPS_second));
    if (!PyTuple_CheckExact(second) || PyTuple_GET_SIZE(second) != 2) goto wrong;
    PyObject *prefix = Py_NewRef(PyTuple_GET_ITEM(second, 1));
    if (as_number(PyTuple_GET_ITEM(second, 0)) != now_us - fraction)
        Py_SETREF(prefix, PyObject_CallFunction(lane->begin_second, "L", now_us - fraction));
    Py_SETREF(second, prefix);
    if (second == NULL) goto done;
    PyObject *generation = GET(thread, THREAD_generation);
    if (generation != GET(stamps, STAMPS_generation)
        && PyLong_AsLong(generation) != PyLong_AsLong(GET(stamps, STAMPS_generation))) {
        PyObject *joined_board = PyObject_CallMethodOneArg(stamps, W_join_board, thread);
        if (joined_board == NULL) goto done;
        Py_DECREF(joined_board);
    }
    PyObject *binding = GET(slot, SLOT_binding);
    stream = Py_NewRef(GET(binding, BINDING_stream));
    int has_room = make_room(stream, given, given_count);
    if (has_room < 0) goto done;
    seq = PyObject_CallMethodNoArgs(lane->sink, W_next_seq);
    if (seq == NULL) {
        answer = without_room(lane, slot, given, given_count);
        goto done;
    }
    unsigned long long number = PyLong_AsUnsignedLongLong(seq);
    if (number == (unsigned long long)-1 && PyErr_Occurred()) goto done;
    if (!is_stored(lane, GET(thread, THREAD_store), number)) {
        PyObject *stored = PyObject_CallOneArg(GET(thread, THREAD_store), seq);
        if (stored == NULL && !put_off(kept)) goto done;
        Py_XDECREF(stored);
    }
    writer = PyObject_GetAttr(lane->sink, W_writer);
    if (writer == NULL) goto done;
    if (!stamped_line(second, (unsigned long)fraction, writer, number, given, given_count, &line, &identity)) goto done;
    int written = has_room ? write_line(lane, stream, line, kept) : 0;
    if (written == 0) answer = dropped_event(lane, "the file system refused the write");
    PyObject *events = written != 1 ? NULL : PyLong_FromLongLong(as_number(GET(lane->health, HEALTH_events)) + 1);
    if (events == NULL) goto done;
    PUT(lane->health, HEALTH_events, events);
    PyObject *cell = GET(slot, SLOT_written);
    if (!PyList_CheckExact(cell) || PyList_GET_SIZE(cell) < 1) goto wrong;
    PyObject *count = PyLong_FromLongLong(as_number(PyList_GET_ITEM(cell, 0)) + 1);
    if (count == NULL || PyList_SetItem(cell, 0, count) < 0) goto done;
    PyObject *mirror = GET(slot, SLOT_mirror), *mirrored = NULL;
    int is_added = mirror == Py_None ? 1 : add_to_mirror(mirror, line);
    if (is_added < 0) goto done;
    if (!is_added) {
        Py_INCREF(mirror);
        mirrored = PyObject_CallOneArg(mirror, line);
        Py_DECREF(mirror);
        if (mirrored == NULL && !put_off(kept)) goto done;
        Py_XDECREF(mirrored);
    }
    if (GET(slot, SLOT_is_read) == Py_True) {
        PyObject *arguments[] = {slot, line}, *was_read = PyObject_Vectorcall(lane->read, arguments, 2, NULL);
        if (was_read == NULL && !put_off(kept)) goto done;
        Py_XDECREF(was_read);
    }
    Py_ssize_t drops = PyObject_Size(GET(lane->health, HEALTH_unreported));
    if (drops > 0) {
        PyObject *reported = PyObject_CallNoArgs(lane->report_drops);
        if (reported == NULL) drops = -1;
        Py_XDECREF(reported);
    }
    if (drops >= 0) answer = Py_NewRef(identity);
    goto done;
wrong:
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "an event of other classes than those that were learnt");
done:
    if (kept[0] != NULL && !PyErr_Occurred()) {
        Py_CLEAR(answer);
        PyErr_Restore(kept[0], kept[1], kept[2]);
    } else {
        for (int i = 0; i < 3; i++) Py_XDECREF(kept[i]);
    }
    Py_XDECREF(second);
    Py_XDECREF(stream);
    Py_XDECREF(thread);
    Py_XDECREF(seq);
    Py_XDECREF(writer);
    Py_XDECREF(line);
    Py_XDECREF(identity);
    return answer;
}

static PyObject *lane_put(Lane *lane, PyObject *const *arguments, Py_ssize_t count) {
    Part parts[4];
    for (int i = 0; i < 4; i++) {
        if (count != 5 || !PyBytes_Check(arguments[i + 1])) {
            PyErr_SetString(PyExc_TypeError, "put(slot, head, links, extra, rest)");
            return NULL;
        }
        parts[i] = part_of(arguments[i + 1]);
    }
    return put_parts(lane, arguments[0], parts, 4);
}

/* Count an exception that recording met, as `health.trouble` does, and the event that it cost; "". */
static PyObject *given_up(Lane *lane, const char *where, const char *reason) {
    PyObject *kind, *error, *traceback;
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return NULL;
    PyErr_Fetch(&kind, &error, &traceback);
    PyErr_NormalizeException(&kind, &error, &traceback);
    if (traceback != NULL) PyException_SetTraceback(error, traceback);
    PyObject *done = dropped_event(lane, reason);
    /* last, since it raises what a signal's handler raised */
    if (done != NULL) Py_SETREF(done, PyObject_CallMethod(lane->health, "trouble", "sO", where, error));
    Py_XDECREF(kind);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    if (done == NULL) return NULL;
    Py_DECREF(done);
    return Py_NewRef(NO_TEXT);
}

/* The JSON of tags, of which there may be thousands. */
static PyObject *json_of_tags(const Judge *judge, PyObject *tags) {
    return ask_memory_for(tags) ? PyObject_CallOneArg(judge->dumps, tags) : NULL;
}

static PyObject *current(PyObject *variable) {
    PyObject *value = NULL;
    return PyContextVar_Get(variable, Py_None, &value) < 0 ? NULL : value;
}

static PyObject *lane_emit_plain(Lane *lane, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "emit_plain(slot, label, payload)");
        return NULL;
    }
    /* A slot of a reloaded module: the user's call must not fail for it. */
    if (!IS_A(arguments[0], SLOT)) return PyObject_Vectorcall(lane->emit, arguments, 3, NULL);
    PyObject *slot = arguments[0], *label = arguments[1], *payload = arguments[2], *answer = NULL;
    PyObject *scope = current(lane->scope), *links = NO_BYTES, *head = NULL, *raw = NULL, *types = NULL, *tags = NULL;
    int is_plain = scope != NULL && PyUnicode_CheckExact(label) && PyDict_CheckExact(payload) && PyDict_GET_SIZE(payload) > 0;
    if (is_plain && scope != Py_None) {
        links = IS_A(scope, SCOPE) ? GET(scope, SCOPE_links) : Py_None;
        is_plain = PyBytes_CheckExact(links) && GET(scope, SCOPE_fields) == Py_None;
    }
    if (is_plain) head = PyDict_GetItemWithError(GET(slot, SLOT_heads), label);
    if (head != NULL) {
        Py_INCREF(head);
        raw = tagged_json(lane->judge, payload, W_of_payload, NULL, 0, &types);
        if (types != NULL && (tags = json_of_tags(lane->judge, types)) == NULL) Py_CLEAR(raw);
    }
    if (raw == NULL) {
        if (cleared() < 0) goto done;
        answer = PyObject_Vectorcall(lane->emit, arguments, 3, NULL);
        goto done;
    }
    Part parts[] = {part_of(head), part_of(links), part_of(GET(slot, SLOT_extra)),
                    {PyBytes_AS_STRING(raw) + 1, PyBytes_GET_SIZE(raw) - 1}, {"", 0}, {"", 0}, {"}\n", 2}};
    if (tags != NULL) {
        parts[4] = (Part){",\"types\":", 9};
        parts[5] = part_of(tags);
    }
    answer = put_parts(lane, slot, parts, 7);
    if (answer == NULL) answer = given_up(lane, "emit", "the event could not be written");
done:
    Py_XDECREF(head);
    Py_XDECREF(raw);
    Py_XDECREF(types);
    Py_XDECREF(tags);
    Py_XDECREF(scope);
    return answer;
}

enum { MOST_FURTHER = 4 };

/* emit_state(slot, label, fields, types, said, more): write a `state` event of fields that are JSON already, with a plain payload
   behind them and further mappings, (key, inner JSON, tags) each, whose tags are in `types`. False where `emit` has to. */
static PyObject *lane_emit_state(Lane *lane, PyObject *const *arguments, Py_ssize_t count) {
    if (count != 6 || !IS_A(arguments[0], SLOT) || !PyBytes_CheckExact(arguments[2]) || !PyList_CheckExact(arguments[5])
        || PyList_GET_SIZE(arguments[5]) > MOST_FURTHER || lane->holder != NULL) Py_RETURN_FALSE;
    PyObject *slot = arguments[0], *types = arguments[3], *more = arguments[5], *answer = NULL, *links = NULL;
    PyObject *scope = current(lane->scope), *head = NULL, *said = NULL, *none = NULL, *tags = NULL;
    if (scope == Py_None) links = Py_NewRef(NO_BYTES);
    else if (scope != NULL && IS_A(scope, SCOPE) && GET(scope, SCOPE_fields) == Py_None) links = Py_NewRef(GET(scope, SCOPE_links));
    if (links == NULL || !PyBytes_CheckExact(links) || !PyDict_CheckExact(arguments[4])) goto done;
    if (types != Py_None && !PyDict_CheckExact(types)) goto done;
    said = tagged_json(lane->judge, arguments[4], W_of_payload, NULL, 0, &none);
    if (said == NULL || none != NULL) goto done;
    if (types != Py_None) {
        tags = json_of_tags(lane->judge, types);
        if (tags == NULL || !PyBytes_CheckExact(tags)) goto done;
    }
    head = PyObject_CallMethodOneArg(slot, W_head, arguments[1]);
    if (head == NULL || !PyBytes_CheckExact(head)) goto done;
    Part parts[10 + 5 * MOST_FURTHER] = {part_of(head), part_of(links), part_of(GET(slot, SLOT_extra)), {"\"fields\":{", 10},
                                         part_of(arguments[2]), {"},", 2}, {PyBytes_AS_STRING(said) + 1, PyBytes_GET_SIZE(said) - 2}};
    int used = 7;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(more); i++) {
        PyObject *each = PyList_GET_ITEM(more, i);
        if (!PyTuple_CheckExact(each) || PyTuple_GET_SIZE(each) != 3 || !PyBytes_CheckExact(PyTuple_GET_ITEM(each, 0))
            || !PyBytes_CheckExact(PyTuple_GET_ITEM(each, 1))) goto done;
        parts[used++] = (Part){",", 1};
        parts[used++] = part_of(PyTuple_GET_ITEM(each, 0));
        parts[used++] = (Part){":{", 2};
        parts[used++] = part_of(PyTuple_GET_ITEM(each, 1));
        parts[used++] = (Part){"}", 1};
    }
    parts[used++] = tags == NULL ? (Part){"}}\n", 3} : (Part){"},\"types\":", 10};
    if (tags != NULL) parts[used++] = part_of(tags);
    if (tags != NULL) parts[used++] = (Part){"}\n", 2};
    answer = put_parts(lane, slot, parts, used);
    if (answer == NULL) answer = given_up(lane, "emit", "the event could not be written");
    if (answer != NULL) Py_SETREF(answer, Py_NewRef(Py_True));
    else goto left;
done:
    if (answer == NULL && cleared() == 0) answer = Py_NewRef(Py_False);
left:
    Py_XDECREF(scope);
    Py_XDECREF(links);
    Py_XDECREF(said);
    Py_XDECREF(none);
    Py_XDECREF(tags);
    Py_XDECREF(head);
    return answer;
}

/* ---- spans on the board ---- */

/* The board of a pipeline as it is now, with its table; 1, 0 where there is none with a table, -1 with an exception. */
static int find_board(Lane *lane) {
    PyObject *board = ATTRIBUTE(lane->pipeline, PIPELINE, board), *table = NULL;
    if (board == NULL) return -1;
    if (board == lane->board) return Py_DECREF(board), board != Py_None && lane->table.buf != NULL;
    if (lane->table.buf != NULL) PyBuffer_Release(&lane->table);
    memset(&lane->table, 0, sizeof lane->table);
    Py_XSETREF(lane->board, board);
    if (board == Py_None) return 0;
    if ((table = PyObject_GetAttr(board, W_table)) == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return -1;
        PyErr_Clear();
        return 0;
    }
    PyObject *bytes, *free, *indices;
    int failed = !PyArg_ParseTuple(table, "OO!O!LLL", &bytes, &PyList_Type, &free, &PyDict_Type, &indices, &lane->base,
                                   &lane->spans_at_bytes, &lane->span_slots)
                 || PyObject_GetBuffer(bytes, &lane->table, PyBUF_WRITABLE) < 0;
    if (!failed) {
        Py_XSETREF(lane->free, Py_NewRef(free));
        Py_XSETREF(lane->indices, Py_NewRef(indices));
        failed = lane->table.len < lane->spans_at_bytes + 32 * lane->span_slots;
        if (failed) PyErr_SetString(PyExc_ValueError, "the table of spans is too short");
    }
    Py_DECREF(table);
    return failed ? -1 : 1;
}

/* The token of a span that now stands on the board, as `Board.open_span` gives it; NULL with an exception. */
static PyObject *open_on_board(Lane *lane, PyObject *span_id, PyObject *agent_id, PyObject *name) {
    int has_table = find_board(lane);
    if (has_table < 0) return NULL;
    if (lane->board == Py_None) return PyLong_FromLong(-1);
    long long started_us = WALL_NS(lane) / 1000;
    if (PyErr_Occurred()) return NULL;
    PyObject *agent = has_table ? PyDict_GetItemWithError(lane->indices, agent_id) : NULL;
    PyObject *label = agent == NULL ? NULL : PyDict_GetItemWithError(lane->indices, name);
    Py_ssize_t left = label == NULL ? 0 : PyList_GET_SIZE(lane->free);
    if (left == 0) {
        if (PyErr_Occurred()) return NULL;
        return PyObject_CallMethod(lane->board, "open_span", "OOOL", span_id, agent_id, name, started_us);
    }
    unsigned long agent_index = PyLong_AsUnsignedLong(agent), name_index = PyLong_AsUnsignedLong(label);
    long long slot = as_number(PyList_GET_ITEM(lane->free, left - 1));
    if (PyErr_Occurred() || slot < 0 || slot >= lane->span_slots || PyList_SetSlice(lane->free, left - 1, left, NULL) < 0)
        return PyErr_Occurred() ? NULL : (PyErr_SetString(PyExc_ValueError, "no slot of the board"), NULL);
    char *at = (char *)lane->table.buf + lane->spans_at_bytes + 32 * slot;
    uint32_t indices[] = {(uint32_t)agent_index, (uint32_t)name_index};
    uint64_t started = (uint64_t)started_us;
    memcpy(at, PyUnicode_1BYTE_DATA(span_id), 16);
    memcpy(at + 16, indices, sizeof indices);
    memcpy(at + 24, &started, sizeof started); /* last, since it marks the slot as taken */
    return PyLong_FromLongLong(lane->base + slot);
}

static int close_on_board(Lane *lane, PyObject *token) {
    int has_table = find_board(lane);
    if (has_table < 0) return -1;
    if (lane->board == Py_None) return 0;
    long long slot = as_number(token) - lane->base;
    if (PyErr_Occurred()) return -1;
    if (!has_table) {
        PyObject *closed = PyObject_CallMethod(lane->board, "close_span", "O", token);
        Py_XDECREF(closed);
        return closed == NULL ? -1 : 0;
    }
    if (slot < 0 || slot >= lane->span_slots) return 0;
    char *started = (char *)lane->table.buf + lane->spans_at_bytes + 32 * slot + 24;
    uint64_t none = 0, before;
    memcpy(&before, started, sizeof before);
    if (before == 0) return 0; /* a slot that is free already must not be given out twice */
    memcpy(started, &none, sizeof none);
    PyObject *number = PyLong_FromLongLong(slot);
    int failed = number == NULL || PyList_Append(lane->free, number) < 0;
    Py_XDECREF(number);
    return failed ? -1 : 0;
}

/* ---- the beginning of a call ---- */

static int is_true(PyObject *object) { return object == Py_True; }

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *spec, *begin, *limit, *names, *label, *strict_state, *installed, *player, *scope;
    PyTypeObject *call_type;
    long level;
    Py_ssize_t max_plain_args;
    int is_method, captures, is_action;
} Opener;

static PyObject *truth(int value) { return Py_NewRef(value ? Py_True : Py_False); }

/* An attribute, a new reference; a `__getattribute__` of the program is not called. */
static PyObject *attribute_of(PyObject *object, PyObject *name) {
    PyTypeObject *kind = Py_TYPE(object);
    PyObject *own = kind->tp_getattro == PyObject_GenericGetAttr ? NULL : _PyType_Lookup(kind, W___getattribute__);
    int is_own = own != NULL && !Py_IS_TYPE(own, &PyWrapperDescr_Type);
    return is_own ? PyObject_GenericGetAttr(object, name) : PyObject_GetAttr(object, name);
}

/* What is known of an agent; a borrowed reference, NULL where `Agents.find` has to look. */
static PyObject *known_agent(Lane *lane, PyObject *target) {
    PyObject *identity = PyLong_FromVoidPtr(target);
    PyObject *known = identity == NULL ? NULL : PyDict_GetItemWithError(lane->known, identity);
    Py_XDECREF(identity);
    if (known == NULL || !IS_A(known, AGENT)) return NULL;
    PyObject *ref = GET(known, AGENT_ref), *named = GET(known, AGENT_named);
    if (ref == NULL || !PyWeakref_CheckRef(ref) || PyWeakref_GET_OBJECT(ref) != target) return NULL;
    if (named == Py_None) return known;
    Py_INCREF(known);
    PyObject *now = attribute_of(target, W_agent_id);
    int is_same = now == named && Py_REFCNT(known) > 1;
    Py_XDECREF(now);
    Py_DECREF(known);
    return is_same ? known : NULL;
}

/* Whether an action of this agent encloses the call: 0 and 1. */
static int is_open(PyObject *actions, PyObject *binding) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(actions); i++)
        if (PyTuple_GET_ITEM(actions, i) == binding) return 1;
    return 0;
}

/* Whether a scalar is what it was. */
static int is_same_scalar(PyObject *before, PyObject *value) {
    if (before == value) return 1;
    if (before == NULL || Py_TYPE(before) != Py_TYPE(value)) return 0;
    if (PyFloat_CheckExact(value)) return is_same_float(PyFloat_AS_DOUBLE(before), PyFloat_AS_DOUBLE(value));
    /* of these types the comparison runs no code of others */
    return PyObject_RichCompareBool(before, value, Py_EQ) == 1;
}

/* What an object has of the named attributes and in its `__dict__`, where none of it has to be computed; NULL, perhaps with an exception,
   where Python has to read it. */
static PyObject *fields_by_names(PyObject *object, PyObject *names) {
    PyTypeObject *kind = Py_TYPE(object);
    if (kind->tp_getattro != PyObject_GenericGetAttr || !PyTuple_CheckExact(names)) return NULL;
    PyObject *own = NULL, *found = NULL, *place = _PyType_Lookup(kind, W___dict__);
    if (place != NULL) {
        if (!Py_IS_TYPE(place, &PyGetSetDescr_Type) || (own = PyObject_GenericGetDict(object, NULL)) == NULL) return NULL;
        if (!PyDict_CheckExact(own)) goto failed;
    }
    if ((found = PyDict_New()) == NULL) goto failed;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i), *value;
        if (!PyUnicode_CheckExact(name)) goto failed;
        value = _PyType_Lookup(kind, name);
        if (value != NULL && Py_IS_TYPE(value, &PyMemberDescr_Type)) {
            PyMemberDef *slot = ((PyMemberDescrObject *)value)->d_member;
            if (slot->type != T_OBJECT_EX || slot->flags != 0 || !PyObject_TypeCheck(object, PyDescr_TYPE(value))) goto failed;
            value = *(PyObject **)((char *)object + slot->offset);
        } else {
            if (value != NULL && Py_TYPE(value)->tp_descr_get != NULL) goto failed;
            PyObject *held = own == NULL ? NULL : PyDict_GetItemWithError(own, name);
            value = held != NULL ? held : value;
        }
        if (PyErr_Occurred() || (value != NULL && PyDict_SetItem(found, name, value) < 0)) goto failed;
    }
    if (own != NULL && PyDict_Update(found, own) < 0) goto failed;
    Py_XDECREF(own);
    return found;
failed:
    Py_XDECREF(own);
    Py_XDECREF(found);
    return NULL;
}

/* fields_named(value, names): the attributes of these names and of its `__dict__`; None where Python has to read them. */
static PyObject *fields_named(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || !PyTuple_CheckExact(given[1])) return PyErr_SetString(PyExc_TypeError, "fields_named(value, names)"), NULL;
    PyObject *found = fields_by_names(given[0], given[1]);
    if (found != NULL) return found;
    PyErr_Clear();
    Py_RETURN_NONE;
}

static PyObject *ready_dict(PyObject *object);

/* What `object.__dict__` gives, a new reference; NULL with an exception. */
static PyObject *own_fields(PyObject *object) {
    PyTypeObject *kind = Py_TYPE(object);
    PyObject *place = kind->tp_getattro == PyObject_GenericGetAttr ? _PyType_Lookup(kind, W___dict__) : NULL;
    PyObject *held = place != NULL && Py_IS_TYPE(place, &PyGetSetDescr_Type) ? ready_dict(object) : NULL;
    return held != NULL ? Py_NewRef(held) : attribute_of(object, W___dict__);
}

/* The fields of an agent where they are what its `__dict__` and slots hold, a new reference; NULL where Python has to look. */
static PyObject *fields_of(Lane *lane, PyObject *tracker, PyObject *target) {
    if (!IS_A(tracker, TRACKER) || GET(tracker, TRACKER_failure) != Py_None) return NULL;
    PyObject *read = GET(tracker, TRACKER__read), *fields;
    if (IS_A(read, READER)) {
        if ((fields = fields_by_names(target, GET(read, READER_names))) == NULL) PyErr_Clear();
        return fields;
    }
    if (read != lane->plain_read) return NULL;
    fields = own_fields(target);
    if (fields != NULL && PyDict_CheckExact(fields)) return fields;
    if (fields == NULL && PyErr_ExceptionMatches(PyExc_Exception)) PyErr_Clear();
    Py_XDECREF(fields);
    return NULL;
}

/* Whether an agent, known by itself, still has the id that it had; `named` is None where it does not hold that itself. */
static int is_named(PyObject *agent, PyObject *named) {
    if (named == Py_None) return 1;
    PyObject *now = attribute_of(agent, W_agent_id);
    if (now == NULL && PyErr_ExceptionMatches(PyExc_Exception)) PyErr_Clear();
    Py_XDECREF(now);
    return now == named;
}

/* The version of a dict, another one after each change of it; 0 where Python keeps none. */
static inline unsigned long long version_of(PyObject *dict) {
#if PY_VERSION_HEX < 0x030C0000
    return ((PyDictObject *)dict)->ma_version_tag;
#else
    (void)dict;
    return 0;
#endif
}

enum { SAME, CHANGED, OTHER };

/* Whether a field was recorded, or is read at full states only. */
static int is_recorded(PyObject *tracker, PyObject *last, PyObject *name) {
    PyObject *heavy = GET(tracker, TRACKER_heavy);
    return PyDict_Contains(last, name) == 1 || (PySet_GET_SIZE(heavy) > 0 && PySet_Contains(heavy, name) == 1);
}

/* How a field compares with what was recorded of it last; only a field that is met with its own text is looked at. `is_fixed`
   becomes 0 where the value may change while the field holds the same object; `is_met` says what `is_recorded` says then. */
static int compared_closely(PyObject *tracker, PyObject *name, PyObject *value, int *is_fixed, int *is_met) {
    PyObject *last = GET(tracker, TRACKER_last), *heavy = GET(tracker, TRACKER_heavy), *before = PyDict_GetItemWithError(last, name);
    int is_plain = value == Py_None || is_scalar(Py_TYPE(value)), is_large = PySet_GET_SIZE(heavy) > 0 && PySet_Contains(heavy, name) == 1;
    *is_met = before != NULL || is_large;
    if (is_large) {
        /* what is large is told by full states; here it is kept for when the agent is gone */
        if (before != NULL || (is_plain && !(PyUnicode_Check(value) && PyUnicode_GET_LENGTH(value) > HEAVY_BYTES))) return OTHER;
        if (GET(tracker, TRACKER__keeping) == Py_None) return SAME;
        PyObject *kept = PyDict_GetItemWithError(GET(tracker, TRACKER_kept), name);
        if (kept != NULL) return kept == value ? SAME : OTHER;
        return PyDict_GetItemWithError(GET(tracker, TRACKER__refused), name) == (PyObject *)Py_TYPE(value) ? SAME : OTHER;
    }
    if (is_plain) {
        if (before != NULL && is_same_scalar(before, value)) return SAME;
        if (PyUnicode_Check(value) && PyUnicode_GET_LENGTH(value) > HEAVY_BYTES) return OTHER;
        return PyDict_GetItemWithError(GET(tracker, TRACKER__ignored), name) == NULL ? CHANGED : OTHER;
    }
    if (PyDict_GetItemWithError(GET(tracker, TRACKER__ignored), name) == (PyObject *)Py_TYPE(value)) return before == NULL ? SAME : OTHER;
    PyObject *held_then = before == NULL ? NULL : PyDict_GetItemWithError(GET(tracker, TRACKER__held), name);
    if (held_then == NULL || PyTuple_GET_ITEM(held_then, 0) != before) return OTHER;
    PyObject *snapshot = PyTuple_GET_ITEM(held_then, 1);
    if (PyLong_CheckExact(snapshot) || snapshot == Py_None) return OTHER;
    if (PyWeakref_CheckRef(snapshot)) {
        PyObject *named = PyTuple_GET_ITEM(held_then, 2);
        int is_same = PyWeakref_GET_OBJECT(snapshot) == value && is_named(value, named);
        if (named == Py_None) return is_same ? SAME : OTHER;
        *is_fixed = 0;
        *is_met = is_recorded(tracker, last, name); /* code of others may have put another set there */
        return is_same ? SAME : OTHER;
    }
    if (PyTuple_GET_SIZE(snapshot) != 1) *is_fixed = 0;
    Held all = {((PyTupleObject *)snapshot)->ob_item, PyTuple_GET_SIZE(snapshot)};
    Py_ssize_t at = 0;
    return meet_any(&all, value, &at, 0, 0) && at == all.count ? SAME : OTHER;
}

static int compared(PyObject *tracker, PyObject *name, PyObject *value) {
    int is_fixed, is_met;
    return compared_closely(tracker, name, value, &is_fixed, &is_met);
}

/* Whether a field that was met with its own text has the mark that it had then, so that nothing in it changed. */
static int has_its_mark(PyObject *tracker, PyObject *fields, PyObject *name, PyObject *value) {
    PyObject *before = PyDict_GetItemWithError(GET(tracker, TRACKER_last), name);
    PyObject *held_then = before == NULL ? NULL : PyDict_GetItemWithError(GET(tracker, TRACKER__held), name);
    if (held_then == NULL || PyTuple_GET_ITEM(held_then, 0) != before || !PyBytes_CheckExact(PyTuple_GET_ITEM(held_then, 2))) return 0;
    if (PyDict_Contains(GET(tracker, TRACKER_borrowed), name) != 0 || PySet_Contains(GET(tracker, TRACKER_written_outside), name) != 0)
        return 0;
    Py_INCREF(held_then);
    PyObject *given[] = {value, fields, GET(tracker, TRACKER__agent_of)}, *now = mark(NULL, given, 3);
    int is_same = now != NULL && now != Py_None && PyObject_RichCompareBool(now, PyTuple_GET_ITEM(held_then, 2), Py_EQ) == 1;
    Py_XDECREF(now);
    Py_DECREF(held_then);
    return is_same;
}

/* The versions of an agent's fields and of what was recorded of them last. */
typedef struct {
    unsigned long long fields, last;
} Versions;

/* Note at which versions each field was what was recorded. 0, or -1 with an exception. */
static int note_versions(PyObject *tracker, Versions versions) {
    PyObject *noted = versions.fields == 0 ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize((const char *)&versions, sizeof versions);
    if (noted == NULL) return -1;
    PUT(tracker, TRACKER_compared, noted);
    return 0;
}

/* Whether no field was written since all were what was recorded, none of them changeable in place. */
static int has_rested(PyObject *tracker, PyObject *fields) {
    PyObject *noted = GET(tracker, TRACKER_compared);
    Versions versions = {version_of(fields), version_of(GET(tracker, TRACKER_last))};
    return versions.fields != 0 && PyBytes_CheckExact(noted) && PyBytes_GET_SIZE(noted) == sizeof versions
           && memcmp(PyBytes_AS_STRING(noted), &versions, sizeof versions) == 0;
}

/* The JSON of a number of numpy and its tag, as `StateTracker` compares it; NULL where Python has to look, perhaps with an
   exception. */
static PyObject *json_of_number(Lane *lane, PyObject *value, PyObject *tag) {
    PyObject *number = own_number(value), *json = NULL, *raw = NULL;
    Py_ssize_t size;
    const char *name = PyUnicode_AsUTF8AndSize(tag, &size);
    int is_finite = number != NULL && name != NULL
                    && (PyLong_CheckExact(number) || PyBool_Check(number) || (PyFloat_CheckExact(number) && isfinite(PyFloat_AS_DOUBLE(number))));
    if (is_finite) json = PyObject_CallOneArg(lane->judge->dumps, number);
    if (json != NULL && PyBytes_CheckExact(json)) {
        Part parts[] = {part_of(json), {"{\"\":\"", 5}, {name, size}, {"\"}", 2}};
        raw = joined(parts, 4);
    }
    Py_XDECREF(number);
    Py_XDECREF(json);
    return raw;
}

/* What a field with a list, a dict or a number of numpy holds now, (its JSON, the objects in it, None), as
   `StateTracker._held` keeps it; NULL where Python has to look, perhaps with an exception. */
static PyObject *taken_value(Lane *lane, PyObject *tracker, PyObject *name, PyObject *value) {
    /* to look for a class of another metaclass may run any code */
    PyObject *tag = Py_IS_TYPE(Py_TYPE(value), &PyType_Type) ? PyDict_GetItemWithError(NUMBER_TAGS, (PyObject *)Py_TYPE(value)) : NULL;
    if (tag == NULL && !PyDict_CheckExact(value) && !PyList_CheckExact(value)) return NULL;
    if (PySet_Contains(GET(tracker, TRACKER_heavy), name) != 0 || PyDict_Contains(GET(tracker, TRACKER__ignored), name) != 0) return NULL;
    /* Before it is encoded, so that a change by another thread meanwhile is noticed. */
    PyObject *objects = snapshot(NULL, value), *raw = NULL, *taken = NULL;
    if (objects != NULL && (tag == NULL || objects != Py_None))
        raw = tag == NULL ? judge_value(lane->judge, value) : json_of_number(lane, value, tag);
    if (raw != NULL && PyBytes_CheckExact(raw) && PyBytes_GET_SIZE(raw) <= HEAVY_BYTES) taken = PyTuple_Pack(3, raw, objects, Py_None);
    Py_XDECREF(objects);
    Py_XDECREF(raw);
    if (taken == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception)) PyErr_Clear();
    return taken;
}

/* The same for an object of few short scalars, of which `StateTracker.small_field` gives the bytes. */
static PyObject *taken_object(PyObject *tracker, PyObject *name, PyObject *value) {
    if (!Py_IS_TYPE(Py_TYPE(value), &PyType_Type) || !(Py_TYPE(value)->tp_flags & Py_TPFLAGS_HEAPTYPE)) return NULL;
    if (PySet_Contains(GET(tracker, TRACKER_heavy), name) != 0 || PyDict_Contains(GET(tracker, TRACKER__ignored), name) != 0) return NULL;
    PyObject *raw = PyObject_CallMethodObjArgs(tracker, W_small_field, name, value, NULL), *taken = NULL;
    if (raw != NULL && PyBytes_CheckExact(raw)) taken = PyTuple_Pack(3, raw, Py_None, Py_None);
    Py_XDECREF(raw);
    if (taken == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception)) PyErr_Clear();
    return taken;
}

/* Whether the JSON of a container is what it was. */
static int is_same_json(PyObject *before, PyObject *raw) {
    return before != NULL && PyBytes_CheckExact(before) && PyBytes_GET_SIZE(before) == PyBytes_GET_SIZE(raw)
           && memcmp(PyBytes_AS_STRING(before), PyBytes_AS_STRING(raw), (size_t)PyBytes_GET_SIZE(raw)) == 0;
}

/* Keep what containers hold now. 0, or -1 with an exception. */
static int keep_containers(PyObject *tracker, PyObject *containers) {
    PyObject *last = GET(tracker, TRACKER_last), *held_now = GET(tracker, TRACKER__held), *name, *taken;
    for (Py_ssize_t at = 0; PyDict_Next(containers, &at, &name, &taken);) {
        PyObject *before = PyDict_GetItemWithError(last, name), *raw = PyTuple_GET_ITEM(taken, 0);
        if (is_same_json(before, raw)) {
            /* the tracker knows what it holds by this very object */
            PyObject *again = PyTuple_Pack(3, before, PyTuple_GET_ITEM(taken, 1), Py_None);
            if (again == NULL) return -1;
            taken = again;
        } else {
            if (PyDict_SetItem(last, name, raw) < 0) return -1;
            Py_INCREF(taken);
        }
        int failed = PyTuple_GET_ITEM(taken, 1) != Py_None ? PyDict_SetItem(held_now, name, taken) < 0
                     : PyDict_Contains(held_now, name) == 1 && PyDict_DelItem(held_now, name) < 0;
        Py_DECREF(taken);
        if (failed) return -1;
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* (JSON, tags) of changed fields of which none but numbers of numpy need a tag, as `judge_tagged` gives it: Python's numbers
   stand in their places, so that one walk is enough. None where others need one, or where Python has to look. */
static PyObject *tagged_numbers(Lane *lane, PyObject *changed) {
    PyObject *own = PyDict_Copy(changed), *tags = PyDict_New(), *raw = NULL, *tagged = NULL, *name, *value;
    for (Py_ssize_t at = 0; own != NULL && tags != NULL && PyDict_Next(changed, &at, &name, &value);) {
        PyObject *tag = Py_IS_TYPE(Py_TYPE(value), &PyType_Type) ? PyDict_GetItemWithError(NUMBER_TAGS, (PyObject *)Py_TYPE(value)) : NULL;
        if (tag == NULL) continue;
        Place place = {NULL, name, 0};
        PyObject *number = own_number(value), *pointer = pointer_to(W_of_changed, &place);
        if (number == NULL || pointer == NULL || PyDict_SetItem(own, name, number) < 0 || PyDict_SetItem(tags, pointer, tag) < 0) Py_CLEAR(own);
        Py_XDECREF(number);
        Py_XDECREF(pointer);
    }
    if (own != NULL && tags != NULL && PyDict_GET_SIZE(tags) > 0 && PyDict_GET_SIZE(tags) <= MAX_TAGS) raw = judge_value(lane->judge, own);
    if (raw != NULL && raw != Py_None && may_stand(lane->judge, raw, 1) == 1) tagged = PyTuple_Pack(2, raw, tags);
    Py_XDECREF(raw);
    Py_XDECREF(tags);
    Py_XDECREF(own);
    return tagged != NULL ? tagged : left_to_python();
}

static int has_known_names(Lane *lane, PyObject *changed) {
    PyObject *name;
    for (Py_ssize_t at = 0; PyDict_Next(changed, &at, &name, NULL);)
        if (PySet_Contains(lane->judge->known_keys, name) != 1) return 0;
    return 1;
}

/* Whether a field that only full states told holds a short scalar now, as that of an agent taken from its place. */
static int is_lightened(PyObject *tracker, PyObject *name, PyObject *value) {
    return (value == Py_None || is_scalar(Py_TYPE(value))) && !(PyUnicode_Check(value) && PyUnicode_GET_LENGTH(value) > HEAVY_BYTES)
           && PySet_Contains(GET(tracker, TRACKER_heavy), name) == 1 && PyDict_Contains(GET(tracker, TRACKER_last), name) == 0
           && PyDict_Contains(GET(tracker, TRACKER__ignored), name) == 0;
}

/* A scalar is what was recorded of a field last. 0, or -1 with an exception. */
static int take_scalar(PyObject *tracker, PyObject *name, PyObject *value) {
    PyObject *heavy = GET(tracker, TRACKER_heavy), *kept = GET(tracker, TRACKER_kept);
    if (PyDict_SetItem(GET(tracker, TRACKER_last), name, value) < 0) return -1;
    if (PySet_GET_SIZE(heavy) == 0 || PySet_Contains(heavy, name) != 1) return PyErr_Occurred() ? -1 : 0;
    /* Agents may share the set, and `kept` where it is empty. */
    PyObject *one = PyTuple_Pack(1, name), *set = one == NULL ? NULL : PyFrozenSet_New(one);
    PyObject *rest = set == NULL ? NULL : PyNumber_Subtract(heavy, set);
    Py_XDECREF(one);
    Py_XDECREF(set);
    if (rest == NULL) return -1;
    PUT(tracker, TRACKER_heavy, rest);
    int was_kept = PyDict_Contains(kept, name);
    return was_kept < 0 || (was_kept && PyDict_DelItem(kept, name) < 0) ? -1 : 0;
}

/* Whether a field is read at full states only, and may not be left out there; 1 and 0. */
static int holds_large(PyObject *tracker) {
    PyObject *outside = GET(tracker, TRACKER_written_outside), *borrowed = GET(tracker, TRACKER_borrowed);
    PyObject *environments = GET(tracker, TRACKER_environments), *name;
    Py_ssize_t at = 0;
    Py_hash_t hash;
    while (_PySet_NextEntry(GET(tracker, TRACKER_heavy), &at, &name, &hash))
        if (!PyUnicode_CheckExact(name)
            || (PyDict_Contains(borrowed, name) != 1 && PySet_Contains(outside, name) != 1 && PyDict_Contains(environments, name) != 1))
            return 1;
    return 0;
}

/* `"code":...,"state":...` of an entry whose changed fields are plain, with their tags as a second item where there are any;
   NULL where Python has to look, perhaps with an exception. */
static PyObject *plain_state_tail(Lane *lane, PyObject *call, PyObject *code) {
    PyObject *tracker = GET(call, CALL_tracker), *changed = NULL, *containers = NULL, *name, *value, *tail = NULL, *raw = NULL;
    PyObject *tagged = NULL;
    PyObject *fields = fields_of(lane, tracker, GET(call, CALL_target));
    if (fields == NULL) return NULL;
    PyObject *last = GET(tracker, TRACKER_last);
    if (as_number(GET(tracker, TRACKER_actions)) <= lane->probes
        && (holds_large(tracker) || PyDict_GET_SIZE(GET(tracker, TRACKER_probed)) > 0)) goto done;
    if (PyDict_GET_SIZE(GET(tracker, TRACKER_kept)) > PySet_GET_SIZE(GET(tracker, TRACKER_heavy))) goto done;
    if (has_rested(tracker, fields)) {
        tail = ATTRIBUTE(code, CODE, tail_unchanged);
        goto done;
    }
    /* made first, since to make it may run any code */
    if ((changed = PyDict_New()) == NULL) goto done;
    Py_ssize_t at = 0, met = 0;
    int has_objects = 0, are_fixed = 1;
    Versions versions = {version_of(fields), 0};
    while (PyDict_Next(fields, &at, &name, &value)) {
        if (!PyUnicode_CheckExact(name)) goto done;
        Py_INCREF(name); /* an agent among them may be asked for its id */
        Py_INCREF(value);
        int is_met, how = compared_closely(tracker, name, value, &are_fixed, &is_met), is_other = how == OTHER;
        if (how == OTHER && has_its_mark(tracker, fields, name, value)) how = SAME, are_fixed = 0;
        if (how == OTHER && is_lightened(tracker, name, value)) how = CHANGED;
        PyObject *taken = how == OTHER ? taken_value(lane, tracker, name, value) : NULL;
        if (how == OTHER && taken == NULL && !PyErr_Occurred()) has_objects |= (taken = taken_object(tracker, name, value)) != NULL;
        if (taken != NULL) {
            if (containers == NULL) containers = PyDict_New();
            if (containers != NULL && PyDict_SetItem(containers, name, taken) == 0)
                how = is_same_json(PyDict_GetItemWithError(last, name), PyTuple_GET_ITEM(taken, 0)) ? SAME : CHANGED;
            if (!PyTuple_CheckExact(PyTuple_GET_ITEM(taken, 1)) || PyTuple_GET_SIZE(PyTuple_GET_ITEM(taken, 1)) != 1) are_fixed = 0;
            Py_DECREF(taken);
        }
        if (how == CHANGED && PyDict_SetItem(changed, name, value) < 0) how = OTHER;
        met += is_other ? is_recorded(tracker, last, name) : is_met; /* to look closer may have run any code */
        Py_DECREF(name);
        Py_DECREF(value);
        if (how == OTHER) goto done;
    }
    if (PyErr_Occurred() || met != PyDict_GET_SIZE(last) + PySet_GET_SIZE(GET(tracker, TRACKER_heavy))) goto done; /* one is gone */
    if (containers != NULL && keep_containers(tracker, containers) < 0) goto done;
    are_fixed = are_fixed && version_of(fields) == versions.fields;
    if (PyDict_GET_SIZE(changed) == 0) {
        versions.last = version_of(last);
        if (are_fixed && note_versions(tracker, versions) < 0) goto done;
        if (has_objects) PyDict_Clear(GET(tracker, TRACKER_forms));
        tail = ATTRIBUTE(code, CODE, tail_unchanged);
        goto done;
    }
    for (at = 0; PyDict_Next(changed, &at, &name, &value);)
        if ((containers == NULL || PyDict_Contains(containers, name) == 0) && take_scalar(tracker, name, value) < 0) goto done;
    versions.last = version_of(last);
    if (are_fixed && note_versions(tracker, versions) < 0) goto done;
    if (has_objects) { /* whose forms `StateTracker.small_field` kept */
        tail = PyObject_CallMethodObjArgs(call, W__changed_tail, code, changed, NULL);
        goto done;
    }
    raw = judge_value(lane->judge, changed);
    if (raw == NULL) goto done;
    if (raw == Py_None && has_known_names(lane, changed)) {
        PyObject *given[] = {changed, W_of_changed};
        tagged = tagged_numbers(lane, changed);
        if (tagged == Py_None) Py_SETREF(tagged, judge_tagged(lane->judge, given, 2)); /* without a secret */
        if (tagged == NULL) goto done;
        if (tagged != Py_None) Py_SETREF(raw, Py_NewRef(PyTuple_GET_ITEM(tagged, 0)));
    }
    if (raw == Py_None || (tagged == NULL && lane->judge->looks_clean != Py_None && is_clean(lane->judge, raw, 1) != 1)) {
        if (!PyErr_Occurred()) tail = PyObject_CallMethodObjArgs(call, W__changed_tail, code, changed, NULL);
        goto done;
    }
    PyObject *begin = ATTRIBUTE(code, CODE, tail);
    if (begin == NULL || !PyBytes_CheckExact(begin)) {
        Py_XDECREF(begin);
        goto done;
    }
    Part parts[] = {part_of(begin), {",\"state\":{\"set\":", 16}, part_of(raw), {",\"unset\":[]}", 12}};
    tail = joined(parts, 4);
    Py_DECREF(begin);
    if (tail != NULL && tagged != NULL && PyTuple_GET_ITEM(tagged, 1) != Py_None)
        Py_SETREF(tail, PyTuple_Pack(2, tail, PyTuple_GET_ITEM(tagged, 1)));
done:
    if (tail != NULL && PyDict_GET_SIZE(GET(tracker, TRACKER_streams)) > 0
        && !have_not_drawn(NULL, fields, GET(tracker, TRACKER_streams), NULL)) {
        PyObject *told = tail_with_draws(lane, tracker, fields, tail);
        Py_SETREF(tail, told != NULL ? told : PyObject_CallMethodObjArgs(call, W__with_draws, tail, NULL));
    }
    Py_XDECREF(tagged);
    Py_XDECREF(raw);
    Py_XDECREF(changed);
    Py_XDECREF(containers);
    Py_DECREF(fields);
    return tail;
}

/* Whether the watched fields, which something else than the agent writes, are as they were, and none is gone. 1 and 0. */
static int are_unwritten(Lane *lane, PyObject *tracker, PyObject *target) {
    PyObject *written = PyObject_GetAttr(lane->probe, W__written), *fields = NULL, *name, *value;
    Py_ssize_t found = written == NULL ? -1 : PyObject_Size(written), at = 0;
    Py_hash_t hash;
    int answer = 0;
    Py_XDECREF(written);
    if (found != 0 || PyDict_GET_SIZE(GET(tracker, TRACKER_probed)) > 0) return 0;
    if ((fields = fields_of(lane, tracker, target)) == NULL) return 0;
    while (_PySet_NextEntry(GET(tracker, TRACKER_watched), &at, &name, &hash)) {
        value = PyUnicode_CheckExact(name) ? PyDict_GetItemWithError(fields, name) : NULL;
        Py_XINCREF(value);
        int how = value == NULL ? OTHER : compared(tracker, name, value);
        Py_XDECREF(value);
        if (how != SAME) goto done;
    }
    for (at = 0; PyDict_Next(GET(tracker, TRACKER_last), &at, &name, &value);)
        if (PyDict_Contains(fields, name) != 1) goto done;
    for (at = 0; _PySet_NextEntry(GET(tracker, TRACKER_heavy), &at, &name, &hash);)
        if (PyDict_Contains(fields, name) != 1) goto done;
    answer = 1;
done:
    Py_DECREF(fields);
    return answer && !PyErr_Occurred();
}

/* Whether a field is seen, without encoding it, to be other than an action left it. */
static int is_rewritten(PyObject *tracker, PyObject *name, PyObject *value) {
    int how = compared(tracker, name, value);
    if (how != OTHER) return how == CHANGED;
    PyObject *heavy = GET(tracker, TRACKER_heavy);
    if (PySet_GET_SIZE(heavy) > 0 && PySet_Contains(heavy, name) == 1) return 0;
    if (PyUnicode_Check(value) && PyUnicode_GET_LENGTH(value) > HEAVY_BYTES) return 0;
    if (value == Py_None || is_scalar(Py_TYPE(value))) return 1;
    PyObject *before = PyDict_GetItemWithError(GET(tracker, TRACKER_last), name);
    PyObject *held_then = before == NULL ? NULL : PyDict_GetItemWithError(GET(tracker, TRACKER__held), name);
    if (held_then == NULL || PyTuple_GET_ITEM(held_then, 0) != before) return 0;
    PyObject *members = PyTuple_GET_ITEM(held_then, 1);
    if (members == Py_None) return 0;
    return !PyLong_CheckExact(members) || PyLong_AsSsize_t(members) != members_of(value, 0);
}

/* Whether nothing is seen to have been written to an agent since its last action ended, and no field is gone. */
static int is_as_left(Lane *lane, PyObject *tracker, PyObject *target) {
    PyObject *fields = fields_of(lane, tracker, target), *name, *value;
    Py_ssize_t at = 0, met = 0;
    int answer = 0;
    if (fields == NULL) return 0;
    PyObject *last = GET(tracker, TRACKER_last);
    if (has_rested(tracker, fields)) {
        answer = 1;
        goto done;
    }
    while (PyDict_Next(fields, &at, &name, &value)) {
        if (!PyUnicode_CheckExact(name)) goto done;
        Py_INCREF(name);
        Py_INCREF(value);
        int is_other = is_rewritten(tracker, name, value);
        met += is_recorded(tracker, last, name);
        Py_DECREF(name);
        Py_DECREF(value);
        if (is_other) goto done;
    }
    answer = met == PyDict_GET_SIZE(last) + PySet_GET_SIZE(GET(tracker, TRACKER_heavy));
done:
    Py_DECREF(fields);
    return answer && !PyErr_Occurred();
}

static int has_written_values(Lane *lane);

/* Whether nothing at all was written to an agent since its last action ended. */
static int is_at_rest(Lane *lane, PyObject *tracker, PyObject *target) {
    PyObject *fields = GET(tracker, TRACKER_compared) == Py_None || PyDict_GET_SIZE(GET(tracker, TRACKER_probed)) > 0
                       || has_written_values(lane) != 0 ? NULL : fields_of(lane, tracker, target);
    int rests = fields != NULL && has_rested(tracker, fields);
    Py_XDECREF(fields);
    return rests && !PyErr_Occurred();
}

/* Whether the look at an agent's state before an action does no more than to count it; then it is counted. 1, 0, -1. */
static int is_only_counted(Lane *lane, const Opener *opener, PyObject *call, PyObject *known, int is_root) {
    PyObject *tracker = GET(known, AGENT_tracker);
    if (tracker == Py_None || !IS_A(tracker, TRACKER)) return 0;
    if (PyObject_Size(lane->gone) != 0) {
        PyObject *told = PyObject_CallMethodNoArgs(call, W__tell_gone);
        if (told == NULL) return -1;
        Py_DECREF(told);
        if (GET(known, AGENT_tracker) != tracker) return 0;
    }
    long long actions = as_number(GET(tracker, TRACKER_actions));
    if (actions < 1 || lane->state_period < 1 || actions % lane->state_period == 0) return 0;
    if (opener->strict_state == Py_None ? lane->strict_state : opener->strict_state != Py_False) return 0;
    if (is_root && (actions & (actions - 1)) == 0
        && (lane->entry_looks <= 0 ? PySet_GET_SIZE(GET(tracker, TRACKER_heavy)) > 0 : holds_large(tracker)))
        return 0;
    if (is_root && !is_at_rest(lane, tracker, GET(call, CALL_target))) {
        if (actions <= lane->entry_looks) {
            int told = tell_outside(lane, known, GET(call, CALL_target), Py_None, 0, 0);
            if (told != TOLD) return told;
        }
        int is_left = actions <= lane->entry_looks || lane->entry_looks <= 0 || is_as_left(lane, tracker, GET(call, CALL_target));
        int is_watched = PySet_GET_SIZE(GET(tracker, TRACKER_watched)) > 0;
        if (!is_left || (is_watched && actions > lane->entry_looks && !are_unwritten(lane, tracker, GET(call, CALL_target)))) {
            int told = lane->entry_looks <= 0 ? NOT_HERE : tell_outside(lane, known, GET(call, CALL_target), NULL, 0, 0);
            if (told != TOLD) return told;
        }
    }
    PyObject *more = PyLong_FromLongLong(actions + 1);
    if (more == NULL) return -1;
    PUT(tracker, TRACKER_actions, more);
    PUT(call, CALL_tracker, Py_NewRef(tracker));
    return 1;
}

/* The arguments by name, a new dict. */
static PyObject *named_arguments(const Opener *opener, PyObject *args, PyObject *kwargs) {
    Py_ssize_t count = PyTuple_GET_SIZE(args), first = opener->is_method;
    if (count > opener->max_plain_args)
        return PyObject_CallMethodObjArgs(opener->spec, W_arguments, args, kwargs, NULL);
    PyObject *arguments = PyDict_New();
    for (Py_ssize_t i = first; arguments != NULL && i < count && i - first < PyTuple_GET_SIZE(opener->names); i++)
        if (PyDict_SetItem(arguments, PyTuple_GET_ITEM(opener->names, i - first), PyTuple_GET_ITEM(args, i)) < 0)
            Py_CLEAR(arguments);
    if (arguments == NULL || PyDict_GET_SIZE(kwargs) == 0) return arguments;
    PyObject *name, *value;
    int is_twice = 0; /* a keyword argument with the name of a positional one: rare, and Python tells them apart */
    for (Py_ssize_t at = 0; is_twice == 0 && count > first && PyDict_Next(kwargs, &at, &name, &value);)
        is_twice = PyDict_Contains(arguments, name);
    if (is_twice < 0 || (is_twice == 0 && PyDict_Update(arguments, kwargs) < 0)) Py_CLEAR(arguments);
    if (is_twice > 0) Py_SETREF(arguments, PyObject_CallMethodObjArgs(opener->spec, W_arguments, args, kwargs, NULL));
    return arguments;
}

/* `"args":...,` of a call, encoded before the body can change them; those found to be secrets, None, or NULL. Takes the
   reference to the arguments by name. */
static PyObject *take_arguments(Lane *lane, PyObject *call, PyObject *arguments, int tells_changes) {
    PyObject *kept = NULL, *raw = NULL, *found = NULL;
    if (arguments == NULL) return NULL;
    if (tells_changes && (kept = held(NULL, arguments)) == NULL) goto done;
    if (PyDict_GET_SIZE(arguments) == 0) {
        PUT(call, CALL_args_body, Py_NewRef(NO_ARGUMENTS));
        found = Py_NewRef(Py_None);
        goto done;
    }
    raw = judge_value(lane->judge, arguments);
    if (raw == NULL) goto done;
    if (raw == Py_None) {
        found = PyObject_CallMethodOneArg(call, W__careful_arguments, arguments);
        goto done;
    }
    Part parts[] = {{"\"args\":", 7}, part_of(raw), {",", 1}};
    PyObject *body = joined(parts, 3);
    if (body == NULL) goto done;
    PUT(call, CALL_args_body, body);
    if (kept != NULL && kept != Py_None) {
        PyObject *changeable = PyTuple_Pack(3, arguments, raw, kept);
        if (changeable == NULL) goto done;
        PUT(call, CALL_changeable, changeable);
    }
    found = Py_NewRef(Py_None);
done:
    Py_DECREF(arguments);
    Py_XDECREF(kept);
    Py_XDECREF(raw);
    return found;
}

static PyObject *with_one(PyObject *before, PyObject *more) {
    Py_ssize_t size = PyTuple_GET_SIZE(before);
    PyObject *longer = PyTuple_New(size + 1);
    if (longer == NULL) return NULL;
    for (Py_ssize_t i = 0; i < size; i++) PyTuple_SET_ITEM(longer, i, Py_NewRef(PyTuple_GET_ITEM(before, i)));
    PyTuple_SET_ITEM(longer, size, Py_NewRef(more));
    return longer;
}

/* As `SpanScope`, for a traced call. */
static PyObject *inner_scope(PyObject *parent, PyObject *span_id, PyObject *name, PyObject *agent, int is_action) {
    PyObject *scope = CLASS[SCOPE]->tp_alloc(CLASS[SCOPE], 0), *path = NULL, *actions = NULL;
    if (scope == NULL) return NULL;
    PUT(scope, SCOPE_span_id, Py_NewRef(span_id));
    PUT(scope, SCOPE_agent, Py_NewRef(agent));
    PUT(scope, SCOPE_causes, Py_NewRef(NO_TUPLE));
    PUT(scope, SCOPE_links, Py_NewRef(Py_None));
    if (parent == Py_None) {
        PUT(scope, SCOPE_tick, Py_NewRef(Py_None));
        PUT(scope, SCOPE_fields, Py_NewRef(Py_None));
        PUT(scope, SCOPE_run_id, Py_NewRef(Py_None));
        PUT(scope, SCOPE_reads, Py_NewRef(Py_None));
        PUT(scope, SCOPE_secrets, Py_NewRef(NO_TUPLE));
        path = with_one(NO_TUPLE, name);
        actions = is_action ? with_one(NO_TUPLE, agent) : Py_NewRef(NO_TUPLE);
    } else {
        PUT(scope, SCOPE_tick, Py_NewRef(GET(parent, SCOPE_tick)));
        PUT(scope, SCOPE_fields, Py_NewRef(GET(parent, SCOPE_fields)));
        PUT(scope, SCOPE_run_id, Py_NewRef(GET(parent, SCOPE_run_id)));
        PUT(scope, SCOPE_reads, Py_NewRef(GET(parent, SCOPE_reads)));
        PUT(scope, SCOPE_secrets, Py_NewRef(GET(parent, SCOPE_secrets)));
        PyObject *above = GET(parent, SCOPE_path), *around = GET(parent, SCOPE_actions);
        path = PyTuple_GET_SIZE(above) < MAX_PATH ? with_one(above, name) : Py_NewRef(above);
        actions = is_action ? with_one(around, agent) : Py_NewRef(around);
    }
    PUT(scope, SCOPE_path, path);
    PUT(scope, SCOPE_actions, actions);
    if (path == NULL || actions == NULL) Py_CLEAR(scope);
    return scope;
}

/* The next id of a span, 16 hexadecimal digits. */
static PyObject *next_span(Lane *lane) {
    PyObject *next = ATTRIBUTE(lane->pipeline, PIPELINE, _next_span), *number = next == NULL ? NULL : PyObject_CallNoArgs(next);
    Py_XDECREF(next);
    if (number == NULL) return NULL;
    unsigned long long rest = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (PyErr_Occurred()) return NULL;
    PyObject *text = PyUnicode_New(16, 127);
    for (int i = 15; text != NULL && i >= 0; i--, rest >>= 4) PyUnicode_1BYTE_DATA(text)[i] = (Py_UCS1)"0123456789abcdef"[rest & 15];
    return text;
}

/* Open the call, as `Call.__init__`; `arguments` are those by name, or NULL. NULL with an exception. */
static PyObject *opened(Lane *lane, const Opener *opener, PyObject *target, PyObject *known, PyObject *scope, PyObject *args,
                        PyObject *kwargs, PyObject *arguments) {
    PyObject *call = CLASS[CALL]->tp_alloc(CLASS[CALL], 0), *binding, *found = NULL, *inside = NULL;
    if (call == NULL) return NULL;
    int is_first = scope == Py_None || PyTuple_GET_SIZE(GET(scope, SCOPE_actions)) == 0;
    binding = known != NULL ? GET(known, AGENT_binding) : GET(scope, SCOPE_agent);
    int is_root = opener->is_action && is_first;
    int is_entry = opener->is_action && (is_first || !is_open(GET(scope, SCOPE_actions), binding)), is_probed = 0;
    PUT(call, CALL_spec, Py_NewRef(opener->spec));
    PUT(call, CALL_pipeline, Py_NewRef(lane->pipeline));
    PUT(call, CALL_target, Py_NewRef(target));
    PUT(call, CALL_leave, Py_NewRef(Py_None));
    PUT(call, CALL_binding, Py_NewRef(binding));
    PUT(call, CALL_tracker, Py_NewRef(Py_None));
    PUT(call, CALL_root, truth(is_root));
    PUT(call, CALL_is_entry, truth(is_entry));
    PUT(call, CALL_types, Py_NewRef(Py_None));
    PUT(call, CALL_changeable, Py_NewRef(Py_None));
    PUT(call, CALL_held, Py_NewRef(Py_None));
    PUT(call, CALL_reads, Py_NewRef(Py_None));
    binding = GET(call, CALL_binding);
    if (is_root) {
        PyObject *left = PyObject_GetAttr(lane->probe, W_left);
        long more = left == NULL ? -1 : PyLong_AsLong(left);
        Py_XDECREF(left);
        if (PyErr_Occurred()) goto failed;
        if (more > 0) {
            PyObject *begun = PyObject_CallMethodNoArgs(lane->probe, W_begins);
            if (begun == NULL) goto failed;
            is_probed = PyObject_IsTrue(begun);
            Py_DECREF(begun);
        }
    }
    PUT(call, CALL_is_probed, truth(is_probed));
    if (is_entry && known != NULL) {
        int is_counted = is_only_counted(lane, opener, call, known, is_root);
        if (PyErr_Occurred()) goto failed;
        if (!is_counted) {
            PyObject *looked = PyObject_CallMethodObjArgs(call, W__look_at_state, known, target, NULL);
            if (looked == NULL) goto failed;
            Py_DECREF(looked);
        }
    }
    if (is_root) {
        PyObject *tracker = known != NULL ? GET(known, AGENT_tracker) : Py_None;
        PyObject *held = IS_A(tracker, TRACKER) ? GET(tracker, TRACKER_held) : Py_None;
        if (held == Py_None) {
            PyObject *watching = PyObject_GetAttr(lane->between, W_is_watching);
            if (watching == NULL) goto failed;
            if (is_true(watching)) held = NO_TUPLE;
            Py_DECREF(watching);
        }
        if (held != Py_None) {
            PUT(call, CALL_held, Py_NewRef(held));
            PyObject *told = begins_quietly(lane->between, held) ? Py_NewRef(Py_None) : PyObject_CallMethodNoArgs(call, W__look_between);
            if (told == NULL) goto failed;
            Py_DECREF(told);
        }
    }
    if (opener->captures) {
        PyObject *named = arguments != NULL ? Py_NewRef(arguments) : named_arguments(opener, args, kwargs);
        found = take_arguments(lane, call, named, opener->is_action);
        if (found == NULL) goto failed;
    } else {
        PUT(call, CALL_args_body, Py_NewRef(NO_BYTES));
    }
    PyObject *span_id = next_span(lane);
    if (span_id == NULL) goto failed;
    PUT(call, CALL_span_id, span_id);
    inside = inner_scope(scope, span_id, opener->label, binding, opener->is_action);
    if (inside == NULL) goto failed;
    if (found != NULL && found != Py_None) {
        PyObject *learnt = PyObject_CallMethod(call, "_learn_secrets", "OO", inside, found);
        if (learnt == NULL) goto failed;
        Py_DECREF(learnt);
    }
    PUT(call, CALL_secrets, Py_NewRef(GET(inside, SCOPE_secrets)));
    PyObject *open_reads = opener->is_action ? PyDict_GetItemWithError(opener->installed, W_open_reads) : NULL;
    if (open_reads != NULL && open_reads != Py_None) {
        PyObject *reads = PyObject_CallOneArg(open_reads, opener->spec);
        if (reads == NULL) goto failed;
        PUT(inside, SCOPE_reads, Py_NewRef(reads));
        PUT(call, CALL_reads, reads);
    }
    PyObject *token = PyContextVar_Set(lane->scope, inside);
    if (token == NULL) goto failed;
    PUT(call, CALL_token, token);
    PyObject *slot = open_on_board(lane, span_id, GET(binding, BINDING_agent_id), opener->label);
    if (slot == NULL) goto failed;
    PUT(call, CALL_board_slot, slot);
    long long started_ns = MONOTONIC_NS(lane);
    PyObject *started = started_ns == -1 && PyErr_Occurred() ? NULL : PyLong_FromLongLong(started_ns);
    if (started == NULL) goto failed;
    PUT(call, CALL_started_ns, started);
    Py_DECREF(inside);
    Py_XDECREF(found);
    return call;
failed:
    Py_XDECREF(inside);
    Py_XDECREF(found);
    Py_DECREF(call);
    return NULL;
}

/* The lane of the pipeline that events go to, a new reference; NULL where there is none. */
static Lane *lane_of(PyObject *pipeline);

static PyObject *opener_call(Opener *opener, PyObject *const *given, size_t flags, PyObject *names) {
    if (PyVectorcall_NARGS(flags) != 2 || names != NULL || !PyTuple_CheckExact(given[0]) || !PyDict_CheckExact(given[1])) {
        PyErr_SetString(PyExc_TypeError, "begin(args, kwargs)");
        return NULL;
    }
    PyObject *args = given[0], *kwargs = given[1], *target = Py_None, *known = NULL, *call = NULL, *player = NULL, *scope = NULL, *leave = NULL, *arguments = NULL;
    if (PyLong_AsLong(GET(opener->limit, LIMIT_value)) > opener->level) Py_RETURN_NONE;
    PyObject *pipeline = PyDict_GetItemWithError(opener->installed, W_active); /* borrowed */
    Lane *lane = pipeline == NULL || pipeline == Py_None || CLASS[CALL] != opener->call_type ? NULL : lane_of(pipeline);
    if (lane == NULL) goto special;
    if ((player = current(opener->player)) == NULL || (scope = current(opener->scope)) == NULL) goto special;
    if (player == Py_False) { /* recording runs the program's code */
        call = Py_NewRef(Py_None);
        goto done;
    }
    if (scope != Py_None && !IS_A(scope, SCOPE)) goto special;
    if (opener->is_method && PyTuple_GET_SIZE(args) > 0) {
        target = PyTuple_GET_ITEM(args, 0);
        if (target != Py_None) {
            known = known_agent(lane, target);
            if (known == NULL) goto special;
            Py_INCREF(known);
        }
    }
    if (known == NULL && (scope == Py_None || GET(scope, SCOPE_agent) == Py_None)) goto special;
    if (player != Py_None) {
        arguments = named_arguments(opener, args, kwargs);
        if (arguments == NULL) goto done;
        leave = PyObject_CallMethodObjArgs(opener->spec, W_admitted, player, known == NULL ? Py_None : known, scope, target, arguments, NULL);
        if (leave == NULL) goto done; /* a replay's refusal is its answer */
        if (PyTuple_Check(leave)) {   /* an `Answer` */
            call = Py_NewRef(leave);
            goto done;
        }
    }
    call = opened(lane, opener, target, known, scope, args, kwargs, arguments);
    if (leave != NULL) {
        if (call != NULL) PUT(call, CALL_leave, Py_NewRef(leave));
    } else if (call == NULL && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyObject *kind, *error, *traceback;
        PyErr_Fetch(&kind, &error, &traceback);
        PyErr_NormalizeException(&kind, &error, &traceback);
        if (traceback != NULL) PyException_SetTraceback(error, traceback);
        call = PyObject_CallMethodOneArg(opener->spec, W_not_recorded, error);
        Py_XDECREF(kind);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
    }
    goto done;
special:
    if (cleared() < 0) goto done;
    call = PyObject_Vectorcall(opener->begin, given, 2, NULL);
done:
    Py_XDECREF(lane);
    Py_XDECREF(player);
    Py_XDECREF(scope);
    Py_XDECREF(known);
    Py_XDECREF(leave);
    Py_XDECREF(arguments);
    return call;
}

/* ---- the end of a call ---- */

/* The identity of a function whose `code` event was written; NULL where Python has to write it, perhaps with an exception. */
static PyObject *told_code(PyObject *call, PyObject *spec) {
    PyObject *code = ATTRIBUTE(spec, SPEC, code), *told = NULL;
    if (code != NULL && code != Py_None && (told = ATTRIBUTE(GET(call, CALL_pipeline), PIPELINE, codes_written)) != NULL
        && PySet_Check(told) && PySet_Contains(told, code) == 1) {
        Py_DECREF(told);
        return code;
    }
    Py_XDECREF(code);
    Py_XDECREF(told);
    return NULL;
}

/* What the line of an entry ends with: code and changed fields; NULL where Python has to look, perhaps with an exception. */
static PyObject *entry_tail(Lane *lane, PyObject *call, PyObject *code) {
    if (is_true(GET(call, CALL_is_probed))) return NULL;
    if (GET(call, CALL_tracker) == Py_None) return ATTRIBUTE(code, CODE, tail);
    PyObject *tail = plain_state_tail(lane, call, code);
    if (tail == NULL && !PyErr_Occurred()) tail = PyObject_CallMethodOneArg(call, W__state_tail, code);
    return tail;
}

/* Have the redactor look at arguments and result: what is left of them with their tags, and that as a body. 1, or 0 with an
   exception. */
static int look_closely(Lane *lane, PyObject **body, PyObject **looked_at, PyObject *types) {
    PyObject *redactor = PyObject_GetAttr(lane->pipeline, W_redactor);
    if (redactor == NULL) return 0;
    *looked_at = PyObject_CallMethod(redactor, "payload", "y#Os", PyBytes_AS_STRING(*body), PyBytes_GET_SIZE(*body) - 1, types, "/extra");
    Py_DECREF(redactor);
    if (*looked_at == NULL) return 0;
    if (!PyTuple_CheckExact(*looked_at) || PyTuple_GET_SIZE(*looked_at) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(*looked_at, 0))
        || (PyTuple_GET_ITEM(*looked_at, 1) != Py_None && !PyDict_CheckExact(PyTuple_GET_ITEM(*looked_at, 1)))) {
        PyErr_SetString(PyExc_TypeError, "payload gives bytes and tags");
        return 0;
    }
    Part parts[] = {part_of(PyTuple_GET_ITEM(*looked_at, 0)), {",", 1}};
    Py_XSETREF(*body, joined(parts, 2));
    return *body != NULL;
}

/* The line of a call for who stands in the place of `put`: its head, its links, the slot's part of `extra`, and the rest. */
static PyObject *held_line(Lane *lane, PyObject *slot, const Part *parts, int count) {
    PyObject *holder = Py_NewRef(lane->holder), *answer = NULL;
    PyObject *pieces[] = {slot, joined(parts, 1), joined(parts + 1, 4), joined(parts + 5, 1), joined(parts + 6, count - 6)};
    if (pieces[1] && pieces[2] && pieces[3] && pieces[4]) answer = PyObject_Vectorcall(holder, pieces, 5, NULL);
    for (int i = 1; i < 5; i++) Py_XDECREF(pieces[i]);
    Py_DECREF(holder);
    return answer;
}

/* The slot of a binding by its key, which is made at the first event of its kind; borrowed from `slots`, NULL if there is none. */
static PyObject *slot_of(PyObject *binding, PyObject *slots, PyObject *key) {
    PyObject *slot = PyDict_GetItemWithError(slots, key);
    if (slot == NULL && !PyErr_Occurred() && PyTuple_CheckExact(key) && PyTuple_GET_SIZE(key) == 2) {
        PyObject *made = PyObject_CallMethodObjArgs(binding, W_slot, PyTuple_GET_ITEM(key, 0), PyTuple_GET_ITEM(key, 1), NULL);
        Py_XDECREF(made);
        if (made != NULL) slot = PyDict_GetItemWithError(slots, key);
    }
    return slot != NULL && IS_A(slot, SLOT) ? slot : NULL;
}

/* Nanoseconds as milliseconds with six significant digits, as `%.6g` writes them; the size of the text, 0 with an exception. Of
   less than a millisecond the nanoseconds are those digits. */
static Py_ssize_t duration_text(char text[DURATION_BYTES], long long duration_ns) {
    if (duration_ns >= 100 && duration_ns < 1000000) {
        Py_ssize_t size = 8;
        memcpy(text, "0.", 2);
        for (Py_ssize_t at = size; at > 2; duration_ns /= 10) text[--at] = (char)('0' + duration_ns % 10);
        while (text[size - 1] == '0') size--;
        return size;
    }
    char *written = PyOS_double_to_string((double)duration_ns / 1e6, 'g', 6, 0, NULL);
    if (written == NULL) return 0;
    Py_ssize_t size = (Py_ssize_t)strlen(written);
    memcpy(text, written, (size_t)size);
    PyMem_Free(written);
    return size;
}

/* Whether arguments and result, as JSON, can hold no secret: there are none, and it is null or a boolean. */
static int are_bare(PyObject *body, PyObject *result) {
    return body == NO_ARGUMENTS && (result == NULL || strchr("ntf", PyBytes_AS_STRING(result)[0]) != NULL);
}

/* Write the event of a call that went well, where its body is plain; its id, or None for Python to do it, or NULL. */
static PyObject *plain_event(Lane *lane, PyObject *call, PyObject *body, PyObject *result, long long duration_ns) {
    PyObject *spec = GET(call, CALL_spec), *scope = NULL, *links = NULL, *slots = GET(GET(call, CALL_binding), BINDING_slots);
    PyObject *slot_key = NULL, *slot = NULL, *label = NULL, *line_head = NULL, *head = NULL, *tail = NULL, *both = NULL, *looked_at = NULL, *read = NULL, *answer = NULL;
    PyObject *code = NULL;
    char duration[DURATION_BYTES];
    int is_special = 1;
    PyObject *is_plain = ATTRIBUTE(spec, SPEC, is_plain);
    Py_XDECREF(is_plain);
    if (is_plain != Py_True) goto done;
    PyObject *types = GET(call, CALL_types);
    if ((types != Py_None && !PyDict_CheckExact(types)) || PyObject_Size(GET(call, CALL_secrets)) != 0) goto done;
    if (GET(call, CALL_reads) != Py_None && ((read = body_of_reads(lane, GET(call, CALL_reads))) == NULL || !PyBytes_CheckExact(read))) goto done;
    if ((slot_key = ATTRIBUTE(spec, SPEC, slot_key)) == NULL || (label = ATTRIBUTE(spec, SPEC, label)) == NULL) goto done;
    if ((slot = slot_of(GET(call, CALL_binding), slots, slot_key)) == NULL) goto done;
    if ((line_head = Py_XNewRef(PyDict_GetItemWithError(GET(slot, SLOT_heads), label))) == NULL) {
        if (PyErr_Occurred() || (line_head = PyObject_CallMethodOneArg(slot, W_head, label)) == NULL) goto done;
        if (!PyBytes_CheckExact(line_head)) goto done;
    }
    if ((scope = current(lane->scope)) == NULL) goto done;
    if (scope == Py_None) {
        links = Py_NewRef(NO_BYTES);
    } else {
        if (!IS_A(scope, SCOPE) || GET(scope, SCOPE_fields) != Py_None) goto done;
        links = Py_NewRef(GET(scope, SCOPE_links));
        if (links == Py_None) Py_SETREF(links, PyObject_CallMethodNoArgs(scope, W_link_bytes));
        if (links == NULL || !PyBytes_CheckExact(links)) goto done;
    }
    /* Arguments and result were encoded without a search of their texts; one sweep does it for both. */
    Part parts[16] = {{NULL, 0}};
    Part bodies[] = {part_of(body), {"\"result\":", result == NULL ? 0 : 9}, {"", 0}, {",", result != NULL}, {"", 0}};
    if (result != NULL) bodies[2] = part_of(result);
    if (read != NULL) bodies[4] = part_of(read);
    if ((both = joined(bodies, 5)) == NULL) goto done;
    if ((code = told_code(call, spec)) == NULL) goto done;
    if (is_true(GET(call, CALL_is_entry)) && (tail = entry_tail(lane, call, code)) == NULL) goto done;
    if (tail != NULL) is_special = 0; /* the changes count as told */
    if (PyBytes_GET_SIZE(both) > 0 && lane->judge->looks_clean != Py_None && !are_bare(body, result)) {
        int clean = is_clean(lane->judge, both, 1);
        if (clean < 0 || (clean == 0 && !look_closely(lane, &both, &looked_at, types))) goto done;
        if (looked_at != NULL) types = PyTuple_GET_ITEM(looked_at, 1);
    }
    if ((tail != NULL && !PyBytes_CheckExact(tail)) || (types != Py_None && PyDict_GET_SIZE(types) > 0)) {
        /* with the tags of arguments and result, then of changed values */
        PyObject *changed = NULL, *bytes = tail == NULL ? NO_BYTES : tail, *whole = NULL;
        if (tail != NULL && !PyBytes_CheckExact(tail) && !PyArg_ParseTuple(tail, "SO!", &bytes, &PyDict_Type, &changed)) goto done;
        PyObject *tags = types == Py_None ? PyDict_New() : PyDict_Copy(types);
        if (tags != NULL && changed != NULL && PyDict_Update(tags, changed) < 0) Py_CLEAR(tags);
        PyObject *raw = tags == NULL ? NULL : json_of_tags(lane->judge, tags);
        Py_XDECREF(tags);
        if (raw != NULL && PyBytes_CheckExact(raw)) {
            Part tagged[] = {part_of(bytes), {",\"types\":", 9}, part_of(raw)};
            whole = joined(tagged, 3);
        }
        Py_XDECREF(raw);
        Py_XSETREF(tail, whole);
        if (tail == NULL) goto done;
    }
    if ((head = is_true(GET(call, CALL_root)) ? ATTRIBUTE(spec, SPEC, head_root) : ATTRIBUTE(spec, SPEC, head)) == NULL) goto done;
    Py_ssize_t duration_size = duration_text(duration, duration_ns);
    if (duration_size == 0) goto done;
    PyObject *span_id = GET(call, CALL_span_id);
    int count = 0;
    parts[count++] = part_of(line_head);
    parts[count++] = (Part){",\"span_id\":\"", 12};
    parts[count++] = (Part){(const char *)PyUnicode_1BYTE_DATA(span_id), PyUnicode_GET_LENGTH(span_id)};
    parts[count++] = (Part){"\"", 1};
    parts[count++] = part_of(links);
    parts[count++] = part_of(GET(slot, SLOT_extra));
    parts[count++] = part_of(head);
    parts[count++] = part_of(both);
    parts[count++] = (Part){"\"duration_ms\":", 14};
    parts[count++] = (Part){duration, duration_size};
    parts[count++] = (Part){"}", 1};
    if (tail != NULL) parts[count++] = part_of(tail);
    parts[count++] = (Part){"}\n", 2};
    is_special = 0;
    answer = lane->holder == NULL ? put_parts(lane, slot, parts, count) : held_line(lane, slot, parts, count);
done:
    if (is_special && !PyErr_Occurred()) answer = Py_NewRef(Py_None);
    Py_XDECREF(slot_key);
    Py_XDECREF(label);
    Py_XDECREF(line_head);
    Py_XDECREF(scope);
    Py_XDECREF(links);
    Py_XDECREF(both);
    Py_XDECREF(code);
    Py_XDECREF(looked_at);
    Py_XDECREF(read);
    Py_XDECREF(tail);
    Py_XDECREF(head);
    return answer;
}

/* The result as JSON, a new reference; Py_None where it is not captured, NULL where Python has to look. */
static PyObject *taken_result(Lane *lane, PyObject *spec, PyObject *result) {
    PyObject *captures = ATTRIBUTE(spec, SPEC, capture_result);
    Py_XDECREF(captures);
    if (captures == NULL) return NULL;
    if (captures != Py_True) return Py_NewRef(Py_None);
    PyObject *raw = judge_value(lane->judge, result);
    if (raw == Py_None) Py_CLEAR(raw);
    return raw;
}

/* The event of a call that gave a result, as `Call.end` writes it between the clock and `leave`. */
static PyObject *ended(Lane *lane, PyObject *call, PyObject *result, long long duration_ns) {
    PyObject *body = NULL, *raw = NULL, *answer = NULL, *changeable = GET(call, CALL_changeable);
    if (as_number(GET(call, CALL_board_slot)) >= 0 && close_on_board(lane, GET(call, CALL_board_slot)) < 0) return NULL;
    if (PyContextVar_Reset(lane->scope, GET(call, CALL_token)) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) return NULL;
        PyErr_Clear();
        PyObject *noted = PyObject_CallMethodNoArgs(call, W__note_other_context);
        if (noted == NULL) return NULL;
        Py_DECREF(noted);
    }
    if (GET(call, CALL_held) != Py_None) {
        PyObject *held = Py_NewRef(GET(call, CALL_held));
        PUT(call, CALL_held, Py_NewRef(Py_None));
        PyObject *is_plain = ATTRIBUTE(GET(call, CALL_spec), SPEC, is_plain), *binding = GET(call, CALL_binding);
        Py_XDECREF(is_plain);
        if (is_plain == NULL) return Py_DECREF(held), NULL;
        PyObject *writer = is_plain == Py_True ? GET(binding, BINDING_agent_id) : Py_None;
        PyObject *left = ended_quietly(lane->between, held, GET(call, CALL_tracker), writer) ? Py_NewRef(Py_None)
                         : PyObject_CallMethodObjArgs(lane->between, W_ended, held, call, NULL);
        Py_DECREF(held);
        if (left == NULL) return NULL;
        Py_DECREF(left);
    }
    /* Only a replay that answers a call asks whether the result is one of its arguments, and it answers no root. */
    int is_answered = is_true(GET(call, CALL_is_entry)) && !is_true(GET(call, CALL_root));
    if (changeable != Py_None && (result == Py_None || is_scalar(Py_TYPE(result)) || !is_answered) && PyTuple_CheckExact(changeable)) {
        PyObject *arguments = PyTuple_GET_ITEM(changeable, 0), *kept = PyTuple_GET_ITEM(changeable, 2);
        if (PyDict_CheckExact(arguments) && PyTuple_CheckExact(kept)) {
            Held all = {((PyTupleObject *)kept)->ob_item, PyTuple_GET_SIZE(kept)};
            Py_ssize_t at = 0;
            if (meet(&all, arguments, &at, 0, 0) && at == all.count) changeable = Py_None;
        }
    }
    body = changeable == Py_None ? Py_NewRef(GET(call, CALL_args_body)) : PyObject_CallMethodOneArg(call, W__args_and_changes, result);
    if (body == NULL) return NULL;
    raw = taken_result(lane, GET(call, CALL_spec), result);
    if (raw == NULL && !PyErr_Occurred()) {
        Py_SETREF(body, PyObject_CallMethodObjArgs(call, W__with_result, body, result, NULL));
        if (body != NULL && PyBytes_CheckExact(body)) answer = plain_event(lane, call, body, NULL, duration_ns);
    } else if (raw != NULL && PyBytes_CheckExact(body)) {
        answer = plain_event(lane, call, body, raw == Py_None ? NULL : raw, duration_ns);
        if (answer == Py_None && raw != Py_None) {
            Part parts[] = {part_of(body), {"\"result\":", 9}, part_of(raw), {",", 1}};
            Py_SETREF(body, joined(parts, 4));
        }
    }
    if (body != NULL && !PyErr_Occurred() && (answer == NULL || answer == Py_None)) {
        Py_XDECREF(answer);
        answer = PyObject_CallMethod(call, "_emit", "OL", body, duration_ns);
    }
    Py_XDECREF(body);
    Py_XDECREF(raw);
    if (answer != NULL && is_true(GET(call, CALL_is_entry))) {
        PyObject *watcher = ATTRIBUTE(lane->pipeline, PIPELINE, watcher), *told_end = NULL;
        if (watcher != NULL && watcher != Py_None)
            told_end = PyObject_CallMethodObjArgs(watcher, W_action_ended, call, answer, Py_None, NULL);
        if (watcher == NULL || (watcher != Py_None && told_end == NULL)) Py_CLEAR(answer);
        Py_XDECREF(watcher);
        Py_XDECREF(told_end);
    }
    return answer;
}

static PyObject *END; /* `Call.end` in Python */

static PyObject *call_end(PyObject *call, PyObject *result) {
    PyObject *pipeline = IS_A(call, CALL) ? GET(call, CALL_pipeline) : NULL, *arguments[] = {call, result};
    Lane *lane = pipeline == NULL ? NULL : lane_of(pipeline);
    if (lane == NULL || GET(call, CALL_started_ns) == NULL) {
        Py_XDECREF(lane);
        PyErr_Clear();
        return PyObject_Vectorcall(END, arguments, 2, NULL);
    }
    /* First, so that the duration excludes the work of recording. */
    PyObject *answer = NULL, *leave;
    long long duration_ns = MONOTONIC_NS(lane);
    if (duration_ns == -1 && PyErr_Occurred()) return Py_DECREF(lane), NULL;
    duration_ns -= as_number(GET(call, CALL_started_ns));
    if (!PyErr_Occurred()) answer = ended(lane, call, result, duration_ns);
    if (answer == NULL) {
        PyObject *kind, *error, *traceback;
        if (!PyErr_ExceptionMatches(PyExc_Exception)) goto done;
        PyErr_Fetch(&kind, &error, &traceback);
        PyErr_NormalizeException(&kind, &error, &traceback);
        if (traceback != NULL) PyException_SetTraceback(error, traceback);
        answer = PyObject_CallMethodOneArg(call, W__trouble, error);
        Py_XDECREF(kind);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
        if (answer == NULL) goto done;
    }
    leave = GET(call, CALL_leave);
    if (leave != NULL && leave != Py_None) Py_SETREF(answer, PyObject_CallFunctionObjArgs(leave, result, Py_None, NULL));
done:
    Py_DECREF(lane);
    if (answer == NULL) return NULL;
    Py_DECREF(answer);
    Py_RETURN_NONE;
}

static PyMethodDef end_definition = {"end", call_end, METH_O, "The body returned: write the event."};

/* quicken(call_type): put `call_end` in the place of `Call.end`, which it calls where there is no lane. */
static PyObject *quicken(PyObject *Py_UNUSED(module), PyObject *call_type) {
    if ((PyTypeObject *)call_type != CLASS[CALL]) return PyErr_Format(PyExc_TypeError, "quicken takes the class Call");
    PyObject *before = PyObject_GetAttrString(call_type, "end");
    PyObject *method = before == NULL ? NULL : PyDescr_NewMethod(CLASS[CALL], &end_definition);
    if (method == NULL || PyObject_SetAttrString(call_type, "end", method) < 0) {
        Py_XDECREF(before);
        Py_XDECREF(method);
        return NULL;
    }
    Py_XSETREF(END, before);
    Py_DECREF(method);
    Py_RETURN_NONE;
}

/* ---- the types ---- */

#define LANE_PARTS(P)                                                                                                  \
    P(sink) P(wall_ns) P(monotonic_ns) P(stamps) P(threads) P(begin_second) P(health) P(emit) P(read) P(report_drops)  \
    P(no_room) P(scope) P(room_error) P(write_globals) P(pipeline) P(known) P(gone) P(between) P(probe) P(plain_read)

static int lane_init(Lane *lane, PyObject *args, PyObject *kwargs) {
#define PART_NAME(name) #name,
    static char *names[] = {"judge", "state_period", "entry_looks", "strict_state", "probes", LANE_PARTS(PART_NAME) NULL};
    PyObject *judge;
#define PART_VALUE(name) PyObject *name;
    LANE_PARTS(PART_VALUE)
#define PART_PLACE(name) , &name
    if (lane->judge != NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, "O!LLpLOOOOOOOOOOOOOOOOOOOO", names, &judge_type, &judge,
                                                             &lane->state_period, &lane->entry_looks,
                                                             &lane->strict_state, &lane->probes LANE_PARTS(PART_PLACE)))
        return PyErr_Occurred() ? -1 : (PyErr_SetString(PyExc_TypeError, "a lane is made once"), -1);
    if (!PyContextVar_CheckExact(scope) || !PyDict_CheckExact(known) || !PyDict_CheckExact(write_globals) || !IS_A(stamps, STAMPS)
        || !IS_A(health, HEALTH)) {
        PyErr_SetString(PyExc_TypeError, "a lane is made of the parts of a pipeline");
        return -1;
    }
    lane->judge = (Judge *)Py_NewRef(judge);
    lane->has_own_clock = are_clocks_of_system(wall_ns, monotonic_ns);
    PyObject *operators = PyImport_ImportModule("operator");
    lane->set_item = operators == NULL ? NULL : PyObject_GetAttrString(operators, "setitem");
    Py_XDECREF(operators);
    if (lane->set_item == NULL) return -1;
#define PART_TAKE(name) lane->name = Py_NewRef(name);
    LANE_PARTS(PART_TAKE)
    return 0;
}

static int lane_traverse(Lane *lane, visitproc visit, void *arg) {
#define PART_VISIT(name) Py_VISIT(lane->name);
    LANE_PARTS(PART_VISIT)
    Py_VISIT(lane->judge);
    Py_VISIT(lane->own);
    Py_VISIT(lane->store);
    Py_VISIT(lane->words);
    Py_VISIT(lane->board);
    Py_VISIT(lane->holder);
    return 0;
}

static int lane_clear(Lane *lane) {
#define PART_CLEAR(name) Py_CLEAR(lane->name);
    LANE_PARTS(PART_CLEAR)
    Py_CLEAR(lane->judge);
    Py_CLEAR(lane->own);
    Py_CLEAR(lane->store);
    Py_CLEAR(lane->words);
    Py_CLEAR(lane->board);
    Py_CLEAR(lane->holder);
    Py_CLEAR(lane->set_item);
    Py_CLEAR(lane->free);
    Py_CLEAR(lane->indices);
    if (lane->table.buf != NULL) PyBuffer_Release(&lane->table);
    return 0;
}

static void lane_dealloc(Lane *lane) {
    PyObject_GC_UnTrack(lane);
    lane_clear(lane);
    Py_TYPE(lane)->tp_free((PyObject *)lane);
}

/* hold(function): have it take the lines of calls, with the arguments of `put`; None ends that. */
static PyObject *lane_hold(Lane *lane, PyObject *function) {
    Py_XSETREF(lane->holder, function == Py_None ? NULL : Py_NewRef(function));
    Py_RETURN_NONE;
}

static PyMethodDef lane_methods[] = {
    {"hold", (PyCFunction)lane_hold, METH_O, "Have a function take the lines of calls; None ends that."},
    {"put", (PyCFunction)(void (*)(void))lane_put, METH_FASTCALL, "Number, stamp and write one line; its id."},
    {"tell_outside", (PyCFunction)(void (*)(void))lane_tell_outside, METH_FASTCALL, "Whether `emit_outside` has no more to do."},
    {"emit_plain", (PyCFunction)(void (*)(void))lane_emit_plain, METH_FASTCALL, "The event of a plain payload; its id."},
    {"emit_state", (PyCFunction)(void (*)(void))lane_emit_state, METH_FASTCALL, "Whether a full state was written."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject lane_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "Agent.record.encode._native.Lane",
    .tp_doc = "The short way of one pipeline's events.",
    .tp_basicsize = sizeof(Lane),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_traverse = (traverseproc)lane_traverse,
    .tp_clear = (inquiry)lane_clear,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)lane_init,
    .tp_dealloc = (destructor)lane_dealloc,
    .tp_methods = lane_methods,
};

static Lane *lane_of(PyObject *pipeline) {
    PyObject *lane = ATTRIBUTE(pipeline, PIPELINE, lane);
    if (lane != NULL && Py_IS_TYPE(lane, &lane_type) && ((Lane *)lane)->judge != NULL) return (Lane *)lane;
    Py_XDECREF(lane);
    return NULL;
}

static long number_of(PyObject *object, PyObject *name) {
    PyObject *value = PyObject_GetAttr(object, name);
    long number = value == NULL ? -1 : PyLong_AsLong(value);
    Py_XDECREF(value);
    return number;
}

/* Opener(spec, begin, installed, player, scope, call_type): `spec.begin` for a spec that has all that its calls need. */
static int opener_init(Opener *opener, PyObject *args, PyObject *kwargs) {
    PyObject *spec, *begin, *installed, *player, *scope, *call_type;
    if (opener->spec != NULL || !PyArg_ParseTuple(args, "OOO!OOO!", &spec, &begin, &PyDict_Type, &installed, &player, &scope, &PyType_Type, &call_type))
        return PyErr_Occurred() ? -1 : (PyErr_SetString(PyExc_TypeError, "an opener is made once"), -1);
    opener->vectorcall = (vectorcallfunc)opener_call;
    opener->spec = Py_NewRef(spec);
    opener->begin = Py_NewRef(begin);
    opener->installed = Py_NewRef(installed);
    opener->player = Py_NewRef(player);
    opener->scope = Py_NewRef(scope);
    opener->call_type = (PyTypeObject *)Py_NewRef(call_type);
    opener->limit = PyObject_GetAttr(spec, W_limit);
    opener->names = PyObject_GetAttr(spec, W_names);
    opener->label = PyObject_GetAttr(spec, W_label);
    opener->strict_state = PyObject_GetAttr(spec, W_strict_state);
    opener->level = number_of(spec, W_level);
    opener->max_plain_args = number_of(spec, W_max_plain_args);
    opener->is_method = (int)number_of(spec, W_is_method);
    opener->captures = (int)number_of(spec, W_capture_args);
    opener->is_action = (int)number_of(spec, W_is_action);
    if (PyErr_Occurred()) return -1;
    if (!IS_A(opener->limit, LIMIT) || !PyTuple_CheckExact(opener->names) || !PyUnicode_CheckExact(opener->label)) {
        PyErr_SetString(PyExc_TypeError, "a spec has a limit, names and a label");
        return -1;
    }
    return 0;
}

static int opener_traverse(Opener *opener, visitproc visit, void *arg) {
    Py_VISIT(opener->spec);
    Py_VISIT(opener->begin);
    Py_VISIT(opener->installed);
    return 0;
}

static int opener_clear(Opener *opener) {
    Py_CLEAR(opener->spec);
    Py_CLEAR(opener->begin);
    Py_CLEAR(opener->installed);
    return 0;
}

static void opener_dealloc(Opener *opener) {
    PyObject_GC_UnTrack(opener);
    opener_clear(opener);
    Py_CLEAR(opener->limit);
    Py_CLEAR(opener->names);
    Py_CLEAR(opener->label);
    Py_CLEAR(opener->strict_state);
    Py_CLEAR(opener->player);
    Py_CLEAR(opener->scope);
    Py_CLEAR(opener->call_type);
    Py_TYPE(opener)->tp_free((PyObject *)opener);
}

static PyTypeObject opener_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "Agent.record.encode._native.Opener",
    .tp_doc = "Opens the calls of one traced function.",
    .tp_basicsize = sizeof(Opener),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Opener, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_traverse = (traverseproc)opener_traverse,
    .tp_clear = (inquiry)opener_clear,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)opener_init,
    .tp_dealloc = (destructor)opener_dealloc,
};

static PyTypeObject draw_type;

/* 1, or 0 with an exception. */
static int make_words(void) {
    for (size_t i = 0; i < sizeof WORD_TABLE / sizeof *WORD_TABLE; i++)
        if ((*WORD_TABLE[i].word = PyUnicode_InternFromString(WORD_TABLE[i].text)) == NULL) return 0;
    if ((W_item = PyUnicode_InternFromString("item")) == NULL) return 0;
    if ((W_of_changed = PyUnicode_InternFromString("/state/set")) == NULL) return 0;
    if ((W_of_payload = PyUnicode_InternFromString("/extra")) == NULL) return 0;
    NO_TUPLE = PyTuple_New(0);
    NO_TEXT = PyUnicode_FromString("");
    NO_BYTES = PyBytes_FromString("");
    NO_ARGUMENTS = PyBytes_FromString("\"args\":{},");
    JSON_NULL = PyBytes_FromString("null");
    OUTSIDE_KEY = Py_BuildValue("(si)", "state_change", 20);
    return JSON_NULL && OUTSIDE_KEY && NO_TUPLE && NO_TEXT && NO_BYTES && NO_ARGUMENTS && PyType_Ready(&lane_type) == 0
           && PyType_Ready(&opener_type) == 0 && PyType_Ready(&draw_type) == 0;
}
