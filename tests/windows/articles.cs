// SPDX-License-Identifier: MIT
// The C# programs of the articles about memory-mapped files, in one: the first word says which. As there, the first of two
// waits for Enter ("press Enter"), and the second comes meanwhile. articles.c has those that old C programs had.
using System;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;

static class Articles
{
    static void Wait(string said)
    {
        Console.WriteLine(said + "; press Enter to end");
        Console.ReadLine();
    }

    // "Memory mapped files in .NET 4": a structure and a string.
    struct SomeData
    {
        public long CurrentDate { get; set; }
    }

    static void WriteData(MemoryMappedViewAccessor accessor, int position)
    {
        var data1 = new SomeData { CurrentDate = DateTime.Today.Ticks };
        byte[] data2 = Encoding.Unicode.GetBytes(DateTime.Today.ToLongDateString());
        accessor.Write(position, ref data1);
        position += Marshal.SizeOf(typeof(SomeData));
        accessor.Write(position, data2.Length);
        position += Marshal.SizeOf(typeof(int));
        accessor.WriteArray(position, data2, 0, data2.Length);
    }

    static void ReadData(MemoryMappedViewAccessor accessor, int position)
    {
        SomeData data1;
        accessor.Read(position, out data1);
        position += Marshal.SizeOf(typeof(SomeData));
        var data2 = new byte[accessor.ReadInt32(position)];
        position += Marshal.SizeOf(typeof(int));
        accessor.ReadArray(position, data2, 0, data2.Length);
        Console.WriteLine(new DateTime(data1.CurrentDate).ToString("yyyy-MM-dd"));
        Console.WriteLine(Encoding.Unicode.GetString(data2));
    }

    static void StructAndString(bool writes)
    {
        using (var mmf = MemoryMappedFile.CreateOrOpen("TestMemoryMappedFile", 1024 * 1024))
        using (var accessor = mmf.CreateViewAccessor())
        {
            if (writes)
            {
                WriteData(accessor, 0);
                Wait("written");
            }
            ReadData(accessor, 0);
        }
    }

    // "Working with memory mapped files in .NET 4": the custom file, and the page file.
    [StructLayout(LayoutKind.Sequential)]
    struct Container
    {
        public int Id;
        public double Weight;
        public long Label; // eight characters
    }

    static MemoryMappedFile CustomFile(string path)
    {
        return MemoryMappedFile.CreateFromFile(new FileStream(path, FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite),
            "MyMemMapFile", 1024 * 1024, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, false);
    }

    static void WriteContainer(MemoryMappedFile mmf)
    {
        using (mmf)
        using (var view = mmf.CreateViewAccessor())
        {
            var container = new Container { Id = 7, Weight = 12.5, Label = BitConverter.ToInt64(Encoding.ASCII.GetBytes("apples\0\0"), 0) };
            view.Write(0, 1234);
            view.Write(4, ref container);
            Wait("written");
        }
    }

    static void ReadContainer(MemoryMappedFile mmf)
    {
        using (mmf)
        using (var view = mmf.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read))
        {
            Container container;
            view.Read(4, out container);
            string label = Encoding.ASCII.GetString(BitConverter.GetBytes(container.Label)).TrimEnd('\0');
            Console.WriteLine("{0} bytes: {1} {2} {3} {4}", view.Capacity, view.ReadInt32(0), container.Id, container.Weight, label);
        }
    }

    static void ReadPages()
    {
        using (var mmf = MemoryMappedFile.OpenExisting("Salvador", MemoryMappedFileRights.Read))
        using (var view = mmf.CreateViewAccessor(0, 1024 * 1024, MemoryMappedFileAccess.Read))
        using (var stream = mmf.CreateViewStream(12, 5, MemoryMappedFileAccess.Read))
        using (var text = new StreamReader(stream))
            Console.WriteLine("the reader reads {0} {1} {2}", view.ReadInt32(0), view.ReadDouble(4), text.ReadToEnd());
    }

    // "Programming Memory-Mapped Files with the .NET Framework": simple IPC.
    static void Provider(string name, bool dies)
    {
        var buffer = new byte[32];
        for (int i = 0; i < buffer.Length; i++)
            buffer[i] = (byte)('0' + i);
        using (var mmf = MemoryMappedFile.CreateNew(name, buffer.Length))
        {
            bool mutexCreated;
            var mutex = new Mutex(true, @"Global\MMF_IPC", out mutexCreated);
            using (var accessor = mmf.CreateViewAccessor(0, buffer.Length))
            {
                accessor.WriteArray(0, buffer, 0, dies ? 5 : buffer.Length);
                if (dies)
                    Wait("writing"); // and is killed meanwhile
            }
            mutex.ReleaseMutex();
            Wait("written");
        }
    }

    static void Consumer(string name)
    {
        var buffer = new byte[32];
        using (var mmf = MemoryMappedFile.OpenExisting(name))
        using (var accessor = mmf.CreateViewAccessor(0, buffer.Length))
        {
            var mutex = Mutex.OpenExisting(@"Global\MMF_IPC");
            if (!mutex.WaitOne(0))
            {
                Console.WriteLine("waits");
                mutex.WaitOne();
            }
            accessor.ReadArray(0, buffer, 0, buffer.Length);
            mutex.ReleaseMutex();
            Console.WriteLine(Encoding.ASCII.GetString(buffer));
        }
    }

    // Its single instance, by a map and by a mutex.
    static void OneByMap()
    {
        try
        {
            using (MemoryMappedFile.CreateNew("NetMMFSingle", 1))
                Wait("the only instance");
        }
        catch (IOException)
        {
            Console.WriteLine("Instance already running...");
        }
    }

    static void OneByMutex()
    {
        bool created;
        using (var mutex = new Mutex(true, @"Global\NetMMFSingle", out created))
        {
            bool owns = created;
            try { owns = owns || mutex.WaitOne(0); }
            catch (AbandonedMutexException) { owns = true; }
            if (owns)
                Wait("the only instance");
            else
                Console.WriteLine("Instance already running...");
        }
    }

    // "Memory Mapping", its example for Windows.
    static void Writer()
    {
        using (var mutex = new Mutex(true, @"Global\shared_memory_mutex"))
        using (var mmf = MemoryMappedFile.CreateOrOpen("SharedMemory", 2000))
        using (var accessor = mmf.CreateViewAccessor())
        {
            for (int i = 0; i < 500; i++)
                accessor.Write(i * sizeof(int), i * i);
            mutex.ReleaseMutex();
            Wait("written");
        }
    }

    static void Reader()
    {
        var mutex = Mutex.OpenExisting(@"Global\shared_memory_mutex");
        mutex.WaitOne();
        using (var mmf = MemoryMappedFile.OpenExisting("SharedMemory"))
        using (var accessor = mmf.CreateViewAccessor())
            for (int i = 0; i < 500; i++)
                Console.WriteLine(accessor.ReadInt32(i * sizeof(int)));
        mutex.ReleaseMutex();
    }

    static void Main(string[] args)
    {
        Console.SetOut(new StreamWriter(Console.OpenStandardOutput()) { NewLine = "\n", AutoFlush = true });
        try
        {
            switch (args[0])
            {
                case "struct_and_string_writer": StructAndString(true); break;
                case "struct_and_string_reader": StructAndString(false); break;
                case "custom_file_writer": WriteContainer(CustomFile(args[1])); break;
                case "custom_file_reader":
                    ReadContainer(MemoryMappedFile.OpenExisting("MyMemMapFile", MemoryMappedFileRights.Read)); break;
                case "page_file_reader": ReadPages(); break;
                case "provider": Provider(args[1], false); break;
                case "dying_provider": Provider(args[1], true); break;
                case "consumer": Consumer(args[1]); break;
                case "single_instance_by_map": OneByMap(); break;
                case "single_instance": OneByMutex(); break;
                case "writer": Writer(); break;
                case "reader": Reader(); break;
                default: throw new ArgumentException(args[0]);
            }
        }
        catch (Exception error)
        {
            Console.WriteLine(error.GetType().Name);
            Environment.Exit(1);
        }
    }
}
